// SPDX-License-Identifier: Apache-2.0
//! Takes a received datagram apart into messages, without allocating.

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NlasIterator, Parseable,
};

use crate::{Error, KernelError};

/// `NLMSG_HDRLEN`.
const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`, linux/netlink.h: a text, ended by a zero byte.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// What one message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// `NLMSG_ERROR` with code zero.
    Acknowledged,
    /// `NLMSG_ERROR` with an error number, or an `NLMSG_DONE` that ends a dump with one.
    Refused(KernelError),
    /// `NLMSG_DONE`.
    Done,
    /// `NLMSG_NOOP`.
    Nothing,
    /// `NLMSG_OVERRUN`.
    Overrun,
    /// A message of the protocol, still encoded.
    Object(&'a [u8]),
}

/// The messages of one datagram. Ends after the first malformed one.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub fn of(datagram: &'a [u8]) -> Self {
        Messages { rest: datagram }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<(NetlinkHeader, Reply<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut self.rest);
        let Some((header, payload, rest)) = split(whole) else {
            return Some(Err(Error::Malformed));
        };
        self.rest = rest;
        Some(interpret(&header, payload).map(|reply| (header, reply)).ok_or(Error::Malformed))
    }
}

/// Header and payload of the first message, and what follows it.
fn split(datagram: &[u8]) -> Option<(NetlinkHeader, &[u8], &[u8])> {
    let buffer = NetlinkBuffer::new_checked(&datagram).ok()?;
    let header = NetlinkHeader::parse(&buffer).ok()?;
    let length = usize::try_from(header.length).ok()?;
    let payload = datagram.get(HEADER..length)?;
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((header, payload, rest))
}

fn interpret<'a>(header: &NetlinkHeader, payload: &'a [u8]) -> Option<Reply<'a>> {
    match header.message_type {
        NLMSG_NOOP => Some(Reply::Nothing),
        NLMSG_OVERRUN => Some(Reply::Overrun),
        // Old kernels end some dumps without a code.
        NLMSG_DONE if payload.is_empty() => Some(Reply::Done),
        NLMSG_DONE => {
            let (code, attributes) = payload.split_first_chunk::<4>()?;
            match i32::from_ne_bytes(*code) {
                // A dump may end with its length; only negative codes are errors.
                0.. => Some(Reply::Done),
                errno => Some(Reply::Refused(KernelError::new(errno, text(attributes).as_deref()))),
            }
        }
        NLMSG_ERROR => {
            let (code, original) = payload.split_first_chunk::<4>()?;
            match i32::from_ne_bytes(*code) {
                0 => Some(Reply::Acknowledged),
                errno => {
                    let message = extended(header, original).and_then(text);
                    Some(Reply::Refused(KernelError::new(errno, message.as_deref())))
                }
            }
        }
        _ => Some(Reply::Object(payload)),
    }
}

/// The attributes after the (possibly capped) request that an error message quotes.
fn extended<'a>(header: &NetlinkHeader, original: &'a [u8]) -> Option<&'a [u8]> {
    if header.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    if header.flags & NLM_F_CAPPED != 0 {
        return original.get(HEADER..);
    }
    let (length, _) = original.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    original.get(length.checked_next_multiple_of(4)?..)
}

/// The text of `NLMSGERR_ATTR_MSG`.
fn text(attributes: &[u8]) -> Option<String> {
    let message =
        NlasIterator::new(attributes).map_while(Result::ok).find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)?;
    let text = message.value().split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Lets the protocol's codec decode an [`Reply::Object`].
pub(crate) fn decode<T: NetlinkDeserializable>(header: &NetlinkHeader, payload: &[u8]) -> Result<T, Error> {
    T::deserialize(header, payload)
        .map_err(|source| Error::Decode { message_type: header.message_type, source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as the kernel lays it out.
    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn refusal(errno: i32, original: &[u8], text: &str) -> Vec<u8> {
        let mut payload = (-errno).to_ne_bytes().to_vec();
        payload.extend(original);
        // NLMSGERR_ATTR_OFFS comes first when the kernel names an attribute.
        payload.extend([8, 0, 2, 0, 9, 9, 9, 9]);
        payload.extend(u16::try_from(text.len() + 5).unwrap().to_ne_bytes());
        payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend(text.as_bytes());
        payload.push(0);
        payload.resize(payload.len().next_multiple_of(4), 0);
        payload
    }

    fn read(datagram: &[u8]) -> Vec<(u32, Reply<'_>)> {
        Messages::of(datagram)
            .map(|message| message.map(|(header, reply)| (header.sequence_number, reply)).unwrap())
            .collect()
    }

    #[test]
    fn the_kernels_text_is_found_behind_a_capped_and_behind_a_whole_request() {
        let request = message(0x10, 1, 7, b"attributes!!");
        let expected = |errno| Reply::Refused(KernelError::new(errno, Some("no such thing")));
        let capped = refusal(2, &request[..HEADER], "no such thing");
        let whole = refusal(22, &request, "no such thing");
        let flags = NLM_F_ACK_TLVS;
        let mut datagram = message(NLMSG_ERROR, flags | NLM_F_CAPPED, 7, &capped);
        datagram.extend(message(NLMSG_ERROR, flags, 8, &whole));
        assert_eq!(read(&datagram), [(7, expected(2)), (8, expected(22))]);
    }

    #[test]
    fn a_dump_ends_well_with_a_length_and_badly_with_an_error_number() {
        let mut datagram = message(NLMSG_DONE, 2, 1, &0_i32.to_ne_bytes());
        datagram.extend(message(NLMSG_DONE, 2, 2, &[]));
        datagram.extend(message(NLMSG_DONE, 2, 3, &(-4_i32).to_ne_bytes()));
        let interrupted = Reply::Refused(KernelError::new(4, None));
        assert_eq!(read(&datagram), [(1, Reply::Done), (2, Reply::Done), (3, interrupted)]);
    }

    proptest! {
        #[test]
        fn objects_come_out_as_they_went_in(payloads in proptest::collection::vec(any::<Vec<u8>>(), 0..9)) {
            let datagram: Vec<u8> =
                payloads.iter().zip(0..).flat_map(|(payload, n)| message(0x20, 2, n, payload)).collect();
            let expected: Vec<_> =
                payloads.iter().zip(0..).map(|(payload, n)| (n, Reply::Object(payload))).collect();
            prop_assert_eq!(read(&datagram), expected);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in any::<Vec<u8>>(), kind in 0_u16..5, flags: u16) {
            let mut datagram = message(kind, flags, 1, &bytes);
            datagram.extend(&bytes);
            prop_assert!(Messages::of(&datagram).count() <= datagram.len());
        }
    }
}
