// SPDX-License-Identifier: Apache-2.0
//! Lays requests end to end in one buffer, as one `sendmsg` carries them.

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkSerializable};

use crate::{Error, Request};

/// `NLMSG_HDRLEN`.
const HEADER: usize = 16;
/// Where `nlmsg_flags` stands in a header.
const FLAGS: std::ops::Range<usize> = 6..8;

/// What one send may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes that the kernel takes in one send (EMSGSIZE past that).
    pub whole: usize,
    /// Bytes of a pack, at most [`Self::whole`].
    pub bytes: usize,
    /// Requests; each may be answered by an error, and all answers wait in the receive buffer.
    pub requests: usize,
}

/// One send in the making. The buffer is kept from send to send.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    buffer: Vec<u8>,
    last: usize,
    count: usize,
}

impl Pack {
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.last = 0;
        self.count = 0;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the send if `payload` is added.
    pub fn size_with<T: NetlinkSerializable>(&self, payload: &T) -> usize {
        self.buffer.len() + HEADER + aligned(payload.buffer_len())
    }

    pub fn fits<T: NetlinkSerializable>(&self, payload: &T, limits: Limits) -> bool {
        self.count < limits.requests && self.size_with(payload) <= limits.bytes
    }

    pub fn push<T: NetlinkSerializable>(&mut self, request: &Request<T>, flags: u16, sequence: u32) {
        let length = HEADER + request.payload.buffer_len();
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(length).unwrap_or(u32::MAX);
        header.message_type = request.payload.message_type();
        header.flags = request.flags | flags | NLM_F_REQUEST;
        header.sequence_number = sequence;

        let start = self.buffer.len();
        self.buffer.resize(start + aligned(length), 0);
        let (_, message) = self.buffer.split_at_mut(start);
        let (head, rest) = message.split_at_mut(HEADER);
        header.emit(head);
        let (payload, _padding) = rest.split_at_mut(length - HEADER);
        request.payload.serialize(payload);
        self.last = start;
        self.count += 1;
    }

    /// Asks for an answer to the last request: the barrier.
    pub fn acknowledge_last(&mut self) {
        let flags = self.last + FLAGS.start..self.last + FLAGS.end;
        if let Some([low, high]) = self.buffer.get_mut(flags) {
            let value = u16::from_ne_bytes([*low, *high]) | NLM_F_ACK;
            [*low, *high] = value.to_ne_bytes();
        }
    }

    /// Takes from `requests` what fits, numbers them from `sequence`, and sets the barrier on the last.
    pub fn fill<T: NetlinkSerializable>(
        &mut self,
        requests: &mut std::iter::Peekable<impl Iterator<Item = Request<T>>>,
        limits: Limits,
        mut sequence: u32,
        done: usize,
    ) -> Result<(), Error> {
        self.clear();
        while let Some(request) = requests.next_if(|next| self.fits(&next.payload, limits)) {
            self.push(&request, 0, sequence);
            sequence = sequence.wrapping_add(1);
        }
        if let (0, Some(request)) = (self.count, requests.peek()) {
            return Err(Error::TooLarge { index: done, size: self.size_with(&request.payload), limit: limits.bytes });
        }
        self.acknowledge_last();
        Ok(())
    }
}

/// `NLMSG_ALIGN`.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reply::{Messages, Reply};

    struct Bytes(Vec<u8>);

    impl NetlinkSerializable for Bytes {
        fn message_type(&self) -> u16 {
            0x10
        }
        fn buffer_len(&self) -> usize {
            self.0.len()
        }
        fn serialize(&self, buffer: &mut [u8]) {
            buffer.copy_from_slice(&self.0);
        }
    }

    proptest! {
        /// Every request is in exactly one pack, in order, numbered in order; each pack keeps the limits and ends in the barrier.
        #[test]
        fn packs_hold_all_requests_in_order(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..60),
            bytes in 56_usize..400,
            requests in 1_usize..20,
            start: u32,
        ) {
            let limits = Limits { whole: bytes, bytes, requests };
            let mut left = payloads.iter().cloned().map(|bytes| Request::new(Bytes(bytes), 0x400)).peekable();
            let mut pack = Pack::default();
            let mut seen = Vec::new();
            while left.peek().is_some() {
                let sequence = start.wrapping_add(u32::try_from(seen.len()).unwrap());
                pack.fill(&mut left, limits, sequence, seen.len()).unwrap();
                prop_assert!(pack.bytes().len() <= bytes && (1..=requests).contains(&pack.count()));
                let messages: Vec<_> = Messages::of(pack.bytes()).map(Result::unwrap).collect();
                prop_assert_eq!(messages.len(), pack.count());
                for (n, (header, reply)) in messages.iter().enumerate() {
                    let barrier = if n + 1 == messages.len() { NLM_F_ACK } else { 0 };
                    prop_assert_eq!(header.flags, NLM_F_REQUEST | 0x400 | barrier);
                    prop_assert_eq!(header.sequence_number, sequence.wrapping_add(u32::try_from(n).unwrap()));
                    let Reply::Object(payload) = reply else { panic!("{reply:?}") };
                    seen.push(payload.to_vec());
                }
            }
            prop_assert_eq!(seen, payloads);
        }
    }

    #[test]
    fn a_request_longer_than_a_send_is_named() {
        let limits = Limits { whole: 64, bytes: 64, requests: 9 };
        let mut requests = [Request::from(Bytes(vec![0; 49]))].into_iter().peekable();
        let error = Pack::default().fill(&mut requests, limits, 1, 5).unwrap_err();
        assert!(matches!(error, Error::TooLarge { index: 5, size: 68, limit: 64 }), "{error:?}");
    }
}
