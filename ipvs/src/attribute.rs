// SPDX-License-Identifier: Apache-2.0
//! Netlink attributes, written and read.
//!
//! ```text
//!  0       2       4                    4+n    (multiple of 4)
//!  | len   | type  | value: n bytes     | 0-3  |      len = 4+n, padding not counted
//! ```

use netlink_packet_core::{DecodeError, NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_HEADER_SIZE, NlaBuffer, NlasIterator};

/// An attribute that this crate does not know, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Other {
    /// `nla_type`, with the flags `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    pub kind: u16,
    /// The value, without padding.
    pub value: Vec<u8>,
}

/// Something that is written as a sequence of attributes.
pub(crate) trait Attributes {
    fn write(&self, sink: &mut impl Sink);
}

/// Where attributes are written to.
pub(crate) trait Sink {
    fn put(&mut self, kind: u16, value: &[u8]);
    fn nest(&mut self, kind: u16, content: &impl Attributes);

    /// A text, ended by a zero byte.
    fn put_text(&mut self, kind: u16, text: &str) {
        self.put(kind, &[text.as_bytes(), &[0]].concat());
    }

    fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    fn put_u16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_ne_bytes());
    }

    fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    fn put_u64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_ne_bytes());
    }

    fn put_others(&mut self, others: &[Other]) {
        for other in others {
            self.put(other.kind, &other.value);
        }
    }
}

/// How many bytes `content` takes.
pub(crate) fn length(content: &impl Attributes) -> usize {
    let mut sink = Length(0);
    content.write(&mut sink);
    sink.0
}

/// Writes `content` into `buffer`, which is [`length`] bytes long.
pub(crate) fn emit(content: &impl Attributes, buffer: &mut [u8]) {
    content.write(&mut Bytes { buffer, at: 0 });
}

struct Length(usize);

impl Sink for Length {
    fn put(&mut self, _kind: u16, value: &[u8]) {
        self.0 += NLA_HEADER_SIZE + value.len().next_multiple_of(4);
    }

    fn nest(&mut self, _kind: u16, content: &impl Attributes) {
        self.0 += NLA_HEADER_SIZE;
        content.write(self);
    }
}

struct Bytes<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Bytes<'_> {
    /// Copies `bytes` to `at`. A buffer shorter than [`length`] says is left as it is.
    fn copy(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.buffer.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    fn header(&mut self, at: usize, length: usize, kind: u16) {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.copy(at, &length.to_ne_bytes());
        self.copy(at + 2, &kind.to_ne_bytes());
    }
}

impl Sink for Bytes<'_> {
    fn put(&mut self, kind: u16, value: &[u8]) {
        self.header(self.at, NLA_HEADER_SIZE + value.len(), kind);
        let start = self.at + NLA_HEADER_SIZE;
        self.copy(start, value);
        let end = start + value.len();
        self.at = end.next_multiple_of(4);
        self.copy(end, [0; 3].split_at(self.at - end).0);
    }

    // Without NLA_F_NESTED, as the kernel's own messages of this family and ipvsadm's are.
    fn nest(&mut self, kind: u16, content: &impl Attributes) {
        let start = self.at;
        self.at += NLA_HEADER_SIZE;
        content.write(self);
        self.header(start, self.at - start, kind);
    }
}

/// Reads attributes one by one. `known` takes what it knows and returns `false` for the rest, which goes to `others`.
pub(crate) fn read(
    payload: &[u8],
    others: &mut Vec<Other>,
    mut known: impl FnMut(u16, &[u8]) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    for attribute in NlasIterator::new(payload) {
        let attribute = attribute?;
        if !known(attribute.kind(), attribute.value())? {
            others.push(Other { kind: kind_with_flags(&attribute), value: attribute.value().to_vec() });
        }
    }
    Ok(())
}

fn kind_with_flags(attribute: &NlaBuffer<&[u8]>) -> u16 {
    let nested = if attribute.nested_flag() { NLA_F_NESTED } else { 0 };
    let order = if attribute.network_byte_order_flag() { NLA_F_NET_BYTEORDER } else { 0 };
    attribute.kind() | nested | order
}

/// A text that ends at its first zero byte, or with the value.
pub(crate) fn text(value: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default())
}
