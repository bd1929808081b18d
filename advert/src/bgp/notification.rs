// SPDX-License-Identifier: Apache-2.0
//! NOTIFICATION: why a session ends, in numbers and in words (RFC 4271, sections 4.5 and 6).

use std::{borrow::Cow, fmt};

/// Bytes of a shutdown communication, at most (RFC 9003).
const LONGEST_COMMUNICATION: usize = 255;

/// The body of a NOTIFICATION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The kind of error.
    pub code: u8,
    /// Which of that kind, 0 for none in particular.
    pub subcode: u8,
    /// What the error is about, by kind.
    pub data: Vec<u8>,
}

/// The numbers that slb sends, by name (IANA, "BGP Error Codes" and the registries of their subcodes).
impl Notification {
    pub(super) const NOT_SYNCHRONIZED: (u8, u8) = (1, 1);
    pub(super) const BAD_LENGTH: (u8, u8) = (1, 2);
    pub(super) const BAD_TYPE: (u8, u8) = (1, 3);
    pub(super) const OPEN_MALFORMED: (u8, u8) = (2, 0);
    pub(super) const BAD_VERSION: (u8, u8) = (2, 1);
    pub(super) const BAD_PEER_AS: (u8, u8) = (2, 2);
    pub(super) const BAD_IDENTIFIER: (u8, u8) = (2, 3);
    pub(super) const BAD_HOLD_TIME: (u8, u8) = (2, 6);
    pub(super) const HOLD_TIMER_EXPIRED: (u8, u8) = (4, 0);
    pub(super) const UNEXPECTED_IN_OPEN_SENT: (u8, u8) = (5, 1);
    pub(super) const UNEXPECTED_IN_OPEN_CONFIRM: (u8, u8) = (5, 2);
    pub(super) const UNEXPECTED_IN_ESTABLISHED: (u8, u8) = (5, 3);
    pub(super) const ADMINISTRATIVE_SHUTDOWN: (u8, u8) = (6, 2);
    pub(super) const PEER_DECONFIGURED: (u8, u8) = (6, 3);
    pub(super) const CONNECTION_REJECTED: (u8, u8) = (6, 5);
    pub(super) const COLLISION: (u8, u8) = (6, 7);

    pub(super) fn new((code, subcode): (u8, u8), data: impl Into<Vec<u8>>) -> Self {
        Self { code, subcode, data: data.into() }
    }

    /// The session ends because somebody wants it to, with a word for the operator of the peer (RFC 9003).
    pub(super) fn leaving(code: (u8, u8), communication: &str) -> Self {
        let mut end = communication.len().min(LONGEST_COMMUNICATION);
        while !communication.is_char_boundary(end) {
            end -= 1;
        }
        let text = communication.get(..end).unwrap_or_default();
        if text.is_empty() {
            return Self::new(code, []);
        }
        let length = u8::try_from(text.len()).unwrap_or_default();
        Self::new(code, [&[length], text.as_bytes()].concat())
    }

    /// The words that came with a shutdown, if any.
    fn communication(&self) -> Option<Cow<'_, str>> {
        let code = (self.code, self.subcode);
        // With subcode 4, "administrative reset", as well.
        if code != Self::ADMINISTRATIVE_SHUTDOWN && code != (6, 4) {
            return None;
        }
        let (length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(*length)).filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(text))
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.code, self.subcode) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "error {}/{}", self.code, self.subcode)?,
        }
        match self.communication() {
            Some(words) => write!(f, " ({words:?})"),
            None => Ok(()),
        }
    }
}

/// The registries' names, for the errors that are met.
fn name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (1, 1) => "connection not synchronized",
        (1, 2) => "bad message length",
        (1, 3) => "bad message type",
        (1, _) => "message header error",
        (2, 1) => "unsupported BGP version",
        (2, 2) => "bad peer AS",
        (2, 3) => "bad BGP identifier",
        (2, 4) => "unsupported optional parameter",
        (2, 6) => "unacceptable hold time",
        (2, 7) => "unsupported capability",
        (2, 11) => "role mismatch",
        (2, _) => "OPEN message error",
        (3, 1) => "malformed attribute list",
        (3, 3) => "missing well-known attribute",
        (3, 8) => "invalid NEXT_HOP attribute",
        (3, 11) => "malformed AS_PATH",
        (3, _) => "UPDATE message error",
        (4, _) => "hold timer expired",
        (5, _) => "a message that does not fit the state of the session",
        (6, 1) => "maximum number of prefixes reached",
        (6, 2) => "administrative shutdown",
        (6, 3) => "peer de-configured",
        (6, 4) => "administrative reset",
        (6, 5) => "connection rejected",
        (6, 6) => "other configuration change",
        (6, 7) => "connection collision resolution",
        (6, 8) => "out of resources",
        (6, 9) => "hard reset",
        (6, 10) => "BFD down",
        (6, _) => "cease",
        (7, _) => "ROUTE-REFRESH message error",
        (8, _) => "send hold timer expired",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_carries_words() {
        let sent = Notification::leaving(Notification::ADMINISTRATIVE_SHUTDOWN, "back at 5 o'clock");
        assert_eq!(sent.data[0], 17);
        assert_eq!(sent.to_string(), "administrative shutdown (\"back at 5 o'clock\")");
        let long = Notification::leaving(Notification::ADMINISTRATIVE_SHUTDOWN, &"ä".repeat(200));
        assert_eq!((long.data[0], long.data.len()), (254, 255));
        assert!(Notification::leaving(Notification::PEER_DECONFIGURED, "").data.is_empty());
        assert_eq!(Notification::new((2, 2), [1]).to_string(), "bad peer AS");
        assert_eq!(Notification::new((77, 1), []).to_string(), "error 77/1");
        assert_eq!(Notification::new((6, 2), [9, b'x']).to_string(), "administrative shutdown");
    }
}
