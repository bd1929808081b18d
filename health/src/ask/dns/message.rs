// SPDX-License-Identifier: Apache-2.0
//! Messages of DNS (RFC 1035 section 4), as far as a check needs them. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use slb_core::model::check::{DnsQuestion, RecordType};

const IN: u16 = 1;
/// Bits of the flags: an answer; cut; recursion is wished for; the lowest four are a code.
const QR: u16 = 0x8000;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RCODE: u16 = 0x000f;
/// The two highest bits of a length that is a pointer.
const POINTER: u8 = 0xc0;
/// Bytes of a name, at most, and so more labels than any has.
const LONGEST_NAME: usize = 255;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// 0: no error.
    pub(super) code: u16,
    /// There is more than fit.
    pub(super) is_cut: bool,
    /// The records of the type that was asked for, as text.
    pub(super) records: Vec<String>,
}

pub(super) fn query(id: u16, question: &DnsQuestion) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    for number in [id, RD, 1, 0, 0, 0] {
        message.extend(number.to_be_bytes());
    }
    for label in question.name.labels() {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(question.record_type.number().to_be_bytes());
    message.extend(IN.to_be_bytes());
    message
}

/// Reads an answer. `None`: it is no message; `Some(None)`: it is not the answer to this query.
pub(super) fn read(id: u16, asked: RecordType, message: &[u8]) -> Option<Option<Answer>> {
    let mut at = Cursor { message, at: 0 };
    let [its_id, flags, questions, answers] = [at.u16()?, at.u16()?, at.u16()?, at.u16()?];
    at.skip(4)?;
    if its_id != id || flags & QR == 0 {
        return Some(None);
    }
    let mut answer = Answer { code: flags & RCODE, is_cut: flags & TC != 0, records: Vec::new() };
    for _ in 0..questions {
        at.name()?;
        at.skip(4)?;
    }
    for _ in 0..answers {
        at.name()?;
        let (kind, class) = (at.u16()?, at.u16()?);
        at.skip(4)?;
        let end = usize::from(at.u16()?) + at.at;
        if kind == asked.number() && class == IN {
            answer.records.push(at.record(asked, end)?);
        }
        at.at = end;
    }
    (at.at <= message.len()).then_some(Some(answer))
}

/// The name of a code (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
pub(super) fn code_name(code: u16) -> String {
    let name = match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        other => return format!("with code {other}"),
    };
    name.to_owned()
}

struct Cursor<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Cursor<'m> {
    fn bytes(&mut self, count: usize) -> Option<&'m [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A name with a dot at its end. What is not printable is a number, as in zone files.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut back = None;
        // A pointer that leads in a circle makes no label.
        for _ in 0..=LONGEST_NAME {
            let length = self.u8()?;
            if length & POINTER == POINTER {
                let low = self.u8()?;
                back = back.or(Some(self.at));
                self.at = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                continue;
            }
            if length & POINTER != 0 || name.len() > 4 * LONGEST_NAME {
                return None;
            }
            if length == 0 {
                self.at = back.unwrap_or(self.at);
                return Some(if name.is_empty() { ".".to_owned() } else { name });
            }
            push_text(&mut name, self.bytes(length.into())?);
            name.push('.');
        }
        None
    }

    /// The text of a record that ends there, as dig(1) shows it, but for the quotes of a text.
    fn record(&mut self, kind: RecordType, end: usize) -> Option<String> {
        let text = match kind {
            RecordType::A => Ipv4Addr::from(self.array::<4>()?).to_string(),
            RecordType::Aaaa => Ipv6Addr::from(self.array::<16>()?).to_string(),
            RecordType::Cname | RecordType::Ns | RecordType::Ptr => self.name()?,
            RecordType::Mx => format!("{} {}", self.u16()?, self.name()?),
            RecordType::Srv => format!("{} {} {} {}", self.u16()?, self.u16()?, self.u16()?, self.name()?),
            RecordType::Soa => {
                let mut text = format!("{} {}", self.name()?, self.name()?);
                for _ in 0..5 {
                    text.push_str(&format!(" {}", u32::from_be_bytes(self.array()?)));
                }
                text
            }
            RecordType::Txt => {
                let mut text = String::new();
                while self.at < end {
                    let length = self.u8()?;
                    push_text(&mut text, self.bytes(length.into())?);
                }
                text
            }
        };
        (self.at == end).then_some(text)
    }
}

fn push_text(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b' '..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\{other:03}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(kind: RecordType) -> DnsQuestion {
        DnsQuestion { name: "www.example.org".parse().unwrap(), record_type: kind, expect: None }
    }

    /// The answer with one record, whose name and whose data's end point to what was asked for.
    fn answer(kind: RecordType, data: &[u8]) -> Vec<u8> {
        let mut message = query(7, &question(kind));
        message[2] |= 0x80;
        message[7] = 1;
        message.extend([0xc0, 12]);
        message.extend([kind.number(), IN, 0, 60, data.len() as u16].iter().flat_map(|number| number.to_be_bytes()));
        message.extend(data);
        message
    }

    #[test]
    fn records_read_as_dig_shows_them() {
        let soa = [&[0xc0, 12, 1, b'h', 0xc0, 16][..], &[0, 0, 0, 1].repeat(5)].concat();
        for (kind, data, text) in [
            (RecordType::A, &[192, 0, 2, 1][..], "192.0.2.1"),
            (RecordType::Aaaa, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "2001:db8::1"),
            (RecordType::Cname, &[1, b'a', 0xc0, 16], "a.example.org."),
            (RecordType::Ptr, &[0], "."),
            (RecordType::Mx, &[0, 10, 0xc0, 12], "10 www.example.org."),
            (RecordType::Srv, &[0, 1, 0, 2, 0, 80, 0xc0, 12], "1 2 80 www.example.org."),
            (RecordType::Txt, b"\x03v=x\x02 \xff", "v=x \\255"),
            (RecordType::Soa, &soa, "www.example.org. h.example.org. 1 1 1 1 1"),
        ] {
            let found = read(7, kind, &answer(kind, data)).unwrap().unwrap();
            assert_eq!(found, Answer { code: 0, is_cut: false, records: vec![text.to_owned()] });
        }
    }

    #[test]
    fn what_is_not_the_answer_is_told_from_what_is_no_message() {
        let good = answer(RecordType::A, &[192, 0, 2, 1]);
        assert_eq!(read(8, RecordType::A, &good), Some(None));
        assert_eq!(read(7, RecordType::A, &query(7, &question(RecordType::A))), Some(None));
        assert_eq!(read(7, RecordType::Aaaa, &good).unwrap().unwrap().records, Vec::<String>::new());
        for end in 0..good.len() {
            assert_eq!(read(7, RecordType::A, &good[..end]), None, "{end}");
        }
        assert_eq!(read(7, RecordType::A, &answer(RecordType::A, &[192, 0, 2])), None);
        assert_eq!(read(7, RecordType::A, &answer(RecordType::A, &[192, 0, 2, 1, 1])), None);
        // A name that points to itself.
        assert_eq!(read(7, RecordType::Cname, &answer(RecordType::Cname, &[0xc0, 45])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(
            rest in prop::collection::vec(any::<u8>(), 0..100),
            kind in prop::sample::select(RecordType::ALL.to_vec()),
            data in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), 0_u8..60], 0..40),
        ) {
            let _ = read(7, kind, &rest);
            let _ = read(7, kind, &[&[0, 7, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0], &rest[..]].concat());
            let _ = read(7, kind, &answer(kind, &data));
        }
    }
}
