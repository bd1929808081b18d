// SPDX-License-Identifier: Apache-2.0
//! Messages as they travel (RFC 4271, section 4). Of an UPDATE only the length is read: slb announces and learns nothing, so a full
//! table costs no memory, and no attribute of anybody's can do harm.

use super::{notification::Notification, open::Open};

/// Marker, length, type.
pub(super) const HEADER: usize = 19;
/// The longest message without RFC 8654, which slb does not offer.
pub(super) const LONGEST: usize = 4096;
const MARKER: [u8; 16] = [0xff; 16];

pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;
/// RFC 2918.
const ROUTE_REFRESH: u8 = 5;

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Open(Open),
    Update,
    Notification(Notification),
    Keepalive,
    /// It wants all routes once more.
    RouteRefresh,
}

/// A message around a body. Bodies are made to fit.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    [&MARKER[..], &length.to_be_bytes(), &[kind], body].concat()
}

pub(super) fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

pub(super) fn notification(notification: &Notification) -> Vec<u8> {
    let Notification { code, subcode, data } = notification;
    let data = data.get(..LONGEST - HEADER - 2).unwrap_or(data);
    message(NOTIFICATION, &[&[*code, *subcode], data].concat())
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub(super) struct Framer {
    buffer: Vec<u8>,
}

impl Framer {
    /// Takes what arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// What to answer before the connection is closed: there is no way to find the next message after a bad one.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Notification> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [marker @ .., high, low, kind] = header;
        if *marker != MARKER {
            return Err(Notification::new(Notification::NOT_SYNCHRONIZED, []));
        }
        let length = u16::from_be_bytes([*high, *low]);
        let whole = usize::from(length);
        let fits = match *kind {
            OPEN => (29..=LONGEST).contains(&whole),
            UPDATE => (23..=LONGEST).contains(&whole),
            NOTIFICATION => (21..=LONGEST).contains(&whole),
            KEEPALIVE => whole == HEADER,
            ROUTE_REFRESH => whole == 23,
            other => return Err(Notification::new(Notification::BAD_TYPE, [other])),
        };
        if !fits {
            return Err(Notification::new(Notification::BAD_LENGTH, length.to_be_bytes()));
        }
        let Some(body) = rest.get(..whole - HEADER) else { return Ok(None) };
        let message = match (*kind, body) {
            (OPEN, body) => Message::Open(Open::decode(body)?),
            (NOTIFICATION, [code, subcode, data @ ..]) => {
                Message::Notification(Notification::new((*code, *subcode), data))
            }
            (KEEPALIVE, _) => Message::Keepalive,
            (ROUTE_REFRESH, _) => Message::RouteRefresh,
            _ => Message::Update,
        };
        self.buffer.drain(..whole);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(framer: &mut Framer) -> (Vec<Message>, Option<Notification>) {
        let mut messages = Vec::new();
        loop {
            match framer.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, None),
                Err(notification) => return (messages, Some(notification)),
            }
        }
    }

    #[test]
    fn messages_are_cut_wherever_the_stream_was() {
        let said = Notification::new((6, 2), [0]);
        let stream = [keepalive(), message(UPDATE, &[0; 4000]), notification(&said), keepalive()].concat();
        let mut framer = Framer::default();
        let mut messages = Vec::new();
        for piece in stream.chunks(7) {
            framer.push(piece);
            messages.extend(all(&mut framer).0);
        }
        let expected = [Message::Keepalive, Message::Update, Message::Notification(said), Message::Keepalive];
        assert_eq!(messages, expected);
        assert!(framer.buffer.is_empty());
    }

    #[test]
    fn what_is_no_message_is_answered_as_the_rfc_says() {
        let answer = |bytes: &[u8]| {
            let mut framer = Framer::default();
            framer.push(bytes);
            all(&mut framer).1
        };
        let mut unmarked = keepalive();
        unmarked[3] = 0;
        assert_eq!(answer(&unmarked), Some(Notification::new((1, 1), [])));
        assert_eq!(answer(&message(9, &[])), Some(Notification::new((1, 3), [9])));
        assert_eq!(answer(&message(KEEPALIVE, &[0])), Some(Notification::new((1, 2), [0, 20])));
        assert_eq!(answer(&message(UPDATE, &[0; 5000])), Some(Notification::new((1, 2), 5019_u16.to_be_bytes())));
        assert_eq!(answer(&[0xff; 18]), None, "not whole yet");
    }

    proptest! {
        /// Whatever a peer sends is read, waited for or refused, and little of it is kept.
        #[test]
        fn any_stream_is_read(pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|body| message(OPEN, &body)),
            (1_u8..6, prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(kind, body)| message(kind, &body)),
        ], 0..6)) {
            let mut framer = Framer::default();
            for piece in pieces {
                framer.push(&piece);
                if all(&mut framer).1.is_some() {
                    break;
                }
                prop_assert!(framer.buffer.len() < LONGEST);
            }
        }
    }
}
