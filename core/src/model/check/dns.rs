// SPDX-License-Identifier: Apache-2.0
//! What a name server is asked.

use std::{fmt, str::FromStr};

use super::Invalid;

/// A name that a name server is asked for. It has to know records of the type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsQuestion {
    /// The name.
    pub name: DnsName,
    /// The type of its records.
    pub record_type: RecordType,
    /// What one of the records has to say; any record will do by default.
    pub expect: Option<RecordText>,
}

/// What a record says, as dig(1) shows it: 1 to 255 characters. Upper and lower case are alike, with a dot at the end or without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordText(String);

impl RecordText {
    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a record says so.
    #[must_use]
    pub fn is(&self, record: &str) -> bool {
        let plain = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        plain(&self.0) == plain(record)
    }
}

impl TryFrom<String> for RecordText {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        const LONGEST: usize = 255;
        if (1..=LONGEST).contains(&text.chars().count()) {
            return Ok(Self(text));
        }
        Err(Invalid(format!("an expected record has 1 to {LONGEST} characters")))
    }
}

/// A domain name (RFC 1035): up to 253 characters, labels of 1 to 63 printable ASCII characters between dots. `.` is the root. In lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// The name without a dot at its end; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.').filter(|label| !label.is_empty())
    }
}

impl FromStr for DnsName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const LONGEST: usize = 253;
        const LONGEST_LABEL: usize = 63;
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=LONGEST_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        };
        if text == "." || (name.len() <= LONGEST && name.split('.').all(is_label)) {
            return Ok(Self(name.to_ascii_lowercase()));
        }
        Err(Invalid(format!("{text:?} is no domain name: labels of 1 to 63 ASCII characters between dots, 253 in all")))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

/// A type of records, by RFC 1035, 2782 and 3596.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// An IPv4 address.
    #[default]
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name of the same.
    Cname,
    /// A mail server.
    Mx,
    /// A name server.
    Ns,
    /// The name of an address.
    Ptr,
    /// Where the zone begins.
    Soa,
    /// Where a service is.
    Srv,
    /// Text.
    Txt,
}

impl RecordType {
    /// Every one.
    pub const ALL: [Self; 9] =
        [Self::A, Self::Aaaa, Self::Cname, Self::Mx, Self::Ns, Self::Ptr, Self::Soa, Self::Srv, Self::Txt];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Cname => 5,
            Self::Soa => 6,
            Self::Ptr => 12,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

impl FromStr for RecordType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|each| each.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Invalid(format!("{text:?} is no type of records; there are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        let name = |text: &str| text.parse::<DnsName>().map(|name| name.to_string()).ok();
        assert_eq!(name("WWW.Example.org."), Some("www.example.org".to_owned()));
        assert_eq!(name("."), Some(".".to_owned()));
        assert_eq!(name("_sip._tcp.example.org"), Some("_sip._tcp.example.org".to_owned()));
        assert_eq!(".".parse::<DnsName>().unwrap().labels().count(), 0);
        let long = "a".repeat(63);
        assert!(name(&long).is_some() && name(&format!("{long}a")).is_none());
        assert!(name(&[long.as_str(); 4].join(".")).is_none());
        for text in ["", "..", "a..b", ".a", "a b", "é", "a\\b"] {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn records_are_alike_whatever_their_case() {
        let text = |text: &str| RecordText::try_from(text.to_owned());
        assert!(text("10 Mail.example.org").unwrap().is("10 mail.EXAMPLE.org."));
        assert!(!text("192.0.2.1").unwrap().is("192.0.2.11") && text("").is_err());
    }

    #[test]
    fn types_have_names() {
        assert!(RecordType::ALL.iter().all(|each| each.name().parse() == Ok(*each)));
        assert!("a".parse::<RecordType>().is_err());
    }
}
