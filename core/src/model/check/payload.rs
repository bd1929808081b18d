// SPDX-License-Identifier: Apache-2.0
//! Bytes that are sent or expected, as text.

use std::{
    fmt::{self, Write},
    str::FromStr,
};

use super::Invalid;

/// Up to 1024 bytes. As text, `\xNN` is any byte, `\n`, `\r`, `\t` and `\\` are what they are elsewhere, and everything else is itself in UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Bytes, at most.
    const LONGEST: usize = 1024;

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the bytes are somewhere in these; no bytes are in all.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.is_empty() || bytes.windows(self.0.len()).any(|window| window == self.0)
    }
}

impl TryFrom<Vec<u8>> for Payload {
    type Error = Invalid;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Invalid> {
        if bytes.len() <= Self::LONGEST {
            return Ok(Self(bytes));
        }
        Err(Invalid(format!("it has {} bytes; there is room for {}", bytes.len(), Self::LONGEST)))
    }
}

impl FromStr for Payload {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((plain, escape)) = rest.split_once('\\') {
            bytes.extend_from_slice(plain.as_bytes());
            let (byte, length) = unescape(escape).ok_or_else(|| {
                Invalid("a backslash is followed by x and two hexadecimal digits, n, r, t, or another one".to_owned())
            })?;
            bytes.push(byte);
            rest = escape.get(length..).unwrap_or_default();
        }
        bytes.extend_from_slice(rest.as_bytes());
        Self::try_from(bytes)
    }
}

/// What follows a backslash: the byte, and how much of the text it takes.
fn unescape(text: &str) -> Option<(u8, usize)> {
    let byte = match text.bytes().next()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'\\' => b'\\',
        b'x' => {
            let digits = text.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            return Some((u8::from_str_radix(digits, 16).ok()?, 3));
        }
        _ => return None,
    };
    Some((byte, 1))
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    '\\' => f.write_str("\\\\")?,
                    letter if letter.is_control() => {
                        let mut bytes = [0; 4];
                        letter.encode_utf8(&mut bytes).bytes().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
                    }
                    letter => f.write_char(letter)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_byte_can_be_written() {
        let payload: Payload = r"\x00\xffPING\r\n\\é".parse().unwrap();
        assert_eq!(payload.bytes(), b"\x00\xffPING\r\n\\\xc3\xa9");
        assert_eq!(payload.to_string(), r"\x00\xffPING\r\n\\é");
        for text in [r"\", r"\x", r"\x1", r"\xg0", r"\x+1", r"\q", r"\xé"] {
            assert!(text.parse::<Payload>().is_err(), "{text}");
        }
        assert!("x".repeat(1025).parse::<Payload>().is_err());
    }

    #[test]
    fn nothing_is_in_everything() {
        let is_in = |payload: &str, bytes: &[u8]| payload.parse::<Payload>().unwrap().is_in(bytes);
        assert!(is_in("", b"") && is_in("", b"x") && is_in("bc", b"abcd") && is_in("abcd", b"abcd"));
        assert!(!is_in("x", b"") && !is_in("abcde", b"abcd") && !is_in("ba", b"abcd"));
    }

    proptest! {
        #[test]
        fn text_and_bytes_are_the_same(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let payload = Payload::try_from(bytes.clone()).unwrap();
            let text = payload.to_string();
            prop_assert!(!text.chars().any(char::is_control));
            let read: Payload = text.parse().unwrap();
            prop_assert_eq!(read.bytes(), bytes);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|[\\\\xnrt0-9a-f]*") {
            if let Ok(payload) = text.parse::<Payload>() {
                prop_assert_eq!(payload.to_string().parse::<Payload>(), Ok(payload));
            }
        }
    }
}
