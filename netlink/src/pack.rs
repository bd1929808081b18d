// SPDX-License-Identifier: Apache-2.0
//! Lays requests end to end in one buffer, as one `sendmsg` carries them.

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_REQUEST, NLMSG_NOOP, NetlinkHeader, NetlinkSerializable};

use crate::{Error, Request};

/// `NLMSG_HDRLEN`.
const HEADER: usize = 16;
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

/// One send in the making, its messages numbered one after the other. The buffer is kept from send to send.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    buffer: Vec<u8>,
    first: u32,
    count: u32,
}

impl Pack {
    /// Starts a send whose first message gets the number `first`.
    pub fn start(&mut self, first: u32) {
        self.buffer.clear();
        self.first = first;
        self.count = 0;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The number after that of the last message.
    pub fn next(&self) -> u32 {
        self.first.wrapping_add(self.count)
    }

    /// Which message of the send a number belongs to; out of range if to none.
    pub fn position(&self, sequence: u32) -> usize {
        usize::try_from(sequence.wrapping_sub(self.first)).unwrap_or(usize::MAX)
    }

    /// Bytes of the send if `payload` is added.
    pub fn size_with<T: NetlinkSerializable>(&self, payload: &T) -> usize {
        self.buffer.len() + HEADER + aligned(payload.buffer_len())
    }

    pub fn push<T: NetlinkSerializable>(&mut self, request: &Request<T>, flags: u16) {
        let length = request.payload.buffer_len();
        let kind = request.payload.message_type();
        let room = self.message(kind, request.flags | flags, length);
        request.payload.serialize(room);
    }

    /// Ends the send with a message that does nothing and is always acknowledged: with its answer, all others are there.
    ///
    /// An `NLM_F_ACK` on the last request would not do: a request that ends with EINTR is not answered at all
    /// (`netlink_rcv_skb`), as when an IPVS daemon is stopped before its thread has run.
    pub fn push_barrier(&mut self) {
        self.message(NLMSG_NOOP, NLM_F_ACK, 0);
    }

    /// Appends a header; returns the room for its payload.
    fn message(&mut self, kind: u16, flags: u16, length: usize) -> &mut [u8] {
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(HEADER + length).unwrap_or(u32::MAX);
        header.message_type = kind;
        header.flags = flags | NLM_F_REQUEST;
        header.sequence_number = self.next();
        self.count = self.count.wrapping_add(1);

        let start = self.buffer.len();
        self.buffer.resize(start + HEADER + aligned(length), 0);
        let (_, message) = self.buffer.split_at_mut(start);
        let (head, rest) = message.split_at_mut(HEADER);
        header.emit(head);
        rest.split_at_mut(length).0
    }

    /// Takes from `requests` what fits and sets the barrier behind them. Returns how many it took. `done` is how many went before.
    pub fn fill<T: NetlinkSerializable>(
        &mut self,
        requests: &mut std::iter::Peekable<impl Iterator<Item = Request<T>>>,
        limits: Limits,
        done: usize,
    ) -> Result<usize, Error> {
        let mut taken = 0;
        let limit = limits.bytes.saturating_sub(HEADER);
        while let Some(request) =
            requests.next_if(|next| taken < limits.requests && self.size_with(&next.payload) <= limit)
        {
            self.push(&request, 0);
            taken += 1;
        }
        match requests.peek() {
            Some(request) if taken == 0 => {
                Err(Error::TooLarge { index: done, size: self.size_with(&request.payload), limit })
            }
            _ => {
                self.push_barrier();
                Ok(taken)
            }
        }
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
        /// Every request is in exactly one pack, in order; messages are numbered in order; each pack keeps the limits and ends in
        /// the barrier.
        #[test]
        fn packs_hold_all_requests_in_order(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..60),
            bytes in 72_usize..400,
            requests in 1_usize..20,
            start: u32,
        ) {
            let limits = Limits { whole: bytes, bytes, requests };
            let mut left = payloads.iter().cloned().map(|bytes| Request::new(Bytes(bytes), 0x400)).peekable();
            let mut pack = Pack::default();
            let mut sequence = start;
            let mut seen = Vec::new();
            while left.peek().is_some() {
                pack.start(sequence);
                let taken = pack.fill(&mut left, limits, seen.len()).unwrap();
                prop_assert!(pack.bytes().len() <= bytes && (1..=requests).contains(&taken));
                let messages: Vec<_> = Messages::of(pack.bytes()).map(Result::unwrap).collect();
                prop_assert_eq!(messages.len(), taken + 1);
                for (n, (header, reply)) in messages.iter().enumerate() {
                    prop_assert_eq!(header.sequence_number, sequence);
                    prop_assert_eq!(pack.position(sequence), n);
                    sequence = sequence.wrapping_add(1);
                    if n == taken {
                        prop_assert_eq!(reply, &Reply::Nothing);
                        prop_assert_eq!(header.flags, NLM_F_REQUEST | NLM_F_ACK);
                    } else {
                        prop_assert_eq!(header.flags, NLM_F_REQUEST | 0x400);
                        let Reply::Object(payload) = reply else { panic!("{reply:?}") };
                        seen.push(payload.to_vec());
                    }
                }
                prop_assert_eq!(pack.next(), sequence);
            }
            prop_assert_eq!(seen, payloads);
        }
    }

    #[test]
    fn a_request_longer_than_a_send_is_named() {
        let limits = Limits { whole: 80, bytes: 80, requests: 9 };
        let mut requests = [Request::from(Bytes(vec![0; 49]))].into_iter().peekable();
        let error = Pack::default().fill(&mut requests, limits, 5).unwrap_err();
        assert!(matches!(error, Error::TooLarge { index: 5, size: 68, limit: 64 }), "{error:?}");
    }
}
