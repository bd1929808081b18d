// SPDX-License-Identifier: Apache-2.0
//! A request of HTTP, and which answers are good.

use std::{fmt, str::FromStr};

use super::{Invalid, Payload, Tls};

/// A request of HTTP/1.1, and which answers are good. Redirects are answers, and are not followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpQuestion {
    /// `GET` by default.
    pub method: Method,
    /// `/` by default.
    pub path: Path,
    /// The name of the host that is asked for; the backend's address and port by default.
    pub host: Option<Host>,
    /// More headers, up to 16.
    pub headers: Vec<Header>,
    /// 200 to 399 by default.
    pub expect_status: StatusRanges,
    /// What has to be somewhere in the first 64 KiB of the body.
    pub expect_body: Option<Payload>,
    /// In the clear by default.
    pub tls: Option<Tls>,
}

impl HttpQuestion {
    /// Headers, at most.
    pub const MOST_HEADERS: usize = 16;
}

/// What is asked for; none of them has a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// A page.
    #[default]
    Get,
    /// What a page would be like.
    Head,
    /// What can be done.
    Options,
    /// Something is done.
    Post,
}

impl Method {
    const ALL: [Self; 4] = [Self::Get, Self::Head, Self::Options, Self::Post];

    /// As it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
        }
    }
}

impl FromStr for Method {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|method| method.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Invalid(format!("{text:?} is no method of a check; there are {names}"))
        })
    }
}

/// What is asked for: begins with a slash; 1 to 2048 printable ASCII characters without spaces and `#`. May have a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Path {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl TryFrom<String> for Path {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        const LONGEST: usize = 2048;
        if !text.starts_with('/') {
            return Err(Invalid(format!("{text:?} is no path; it begins with a slash")));
        }
        if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            let why = "a path has up to 2048 printable ASCII characters without spaces and #; write others as %XX";
            return Err(Invalid(why.to_owned()));
        }
        Ok(Self(text))
    }
}

/// A value of the header `Host`: a name or address, and a port if it is not the usual one; 1 to 255 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Host {
    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Host {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        const LONGEST: usize = 255;
        // What RFC 3986 section 3.2.2 has for hosts and ports, but sub-delims, which nobody uses.
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%[]:".contains(&byte);
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_right) {
            return Ok(Self(text));
        }
        Err(Invalid(format!(
            "{text:?} is no host: a name or address, with a port if need be; up to {LONGEST} characters"
        )))
    }
}

/// A header of a request: a name that is a token, a value of up to 1024 printable ASCII characters. `Host`, `Connection`, `Content-Length`,
/// `Transfer-Encoding`, `Expect` and `Upgrade` are not to be set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Header {
    name: String,
    value: String,
}

impl Header {
    /// What the request itself depends on.
    const OURS: [&'static str; 6] = ["host", "connection", "content-length", "transfer-encoding", "expect", "upgrade"];

    /// A header.
    ///
    /// # Errors
    /// A name or value that cannot be, or is not to be set.
    pub fn new(name: String, value: String) -> Result<Self, Invalid> {
        const LONGEST_NAME: usize = 64;
        const LONGEST_VALUE: usize = 1024;
        // A token, RFC 9110 section 5.6.2.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(is_token) {
            return Err(Invalid(format!(
                "{name:?} is no name of a header: 1 to {LONGEST_NAME} letters, digits and hyphens"
            )));
        }
        if Self::OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            let hint = if name.eq_ignore_ascii_case("host") { "; there is a field host" } else { "" };
            return Err(Invalid(format!("the header {name} is not to be set{hint}")));
        }
        let is_plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
        if value.len() > LONGEST_VALUE || !value.bytes().all(is_plain) {
            return Err(Invalid(format!(
                "the value of the header {name} has to have up to {LONGEST_VALUE} printable ASCII characters"
            )));
        }
        Ok(Self { name, value })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, which may be a secret.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({}: …)", self.name)
    }
}

/// Which codes of status are good: numbers from 100 to 599 and ranges of them, `200-299,401`. Up to 16 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusRanges(Vec<(u16, u16)>);

impl StatusRanges {
    const MOST: usize = 16;

    /// Whether a code is good.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// What is neither an error of the request's nor one of the server's.
impl Default for StatusRanges {
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl FromStr for StatusRanges {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let code = |text: &str| text.parse().ok().filter(|code| text.len() == 3 && (100..=599).contains(code));
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((code(first)?, code(last)?)).filter(|(first, last)| first <= last)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(|part| range(part.trim())).collect();
        ranges.filter(|ranges| ranges.len() <= Self::MOST).map(Self).ok_or_else(|| {
            Invalid(format!(
                "{text:?} are no codes of status: up to 16 numbers from 100 to 599 or ranges, like \"200-299,401\""
            ))
        })
    }
}

impl fmt::Display for StatusRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbers_and_ranges() {
        let codes: StatusRanges = "200-299, 401,503".parse().unwrap();
        assert_eq!(codes.to_string(), "200-299,401,503");
        assert!([200, 299, 401, 503].iter().all(|code| codes.contains(*code)));
        assert!([199, 300, 400, 502].iter().all(|code| !codes.contains(*code)));
        assert_eq!(StatusRanges::default().to_string(), "200-399");
        for text in ["", ",", "99", "600", "300-200", "200-", "2xx", "+200", "200-299-300", &["200"; 17].join(",")] {
            assert!(text.parse::<StatusRanges>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_request() {
        let header = |name: &str, value: &str| Header::new(name.to_owned(), value.to_owned()).is_ok();
        assert!(header("X-Token", "a b:c") && header("Accept", ""));
        for (name, value) in
            [("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\r\nb: c"), ("HOST", "x"), ("Connection", "x")]
        {
            assert!(!header(name, value), "{name}: {value}");
        }
        let path = |text: &str| Path::try_from(text.to_owned()).is_ok();
        assert!(path("/") && path("/a/b?c=%20&d"));
        assert!(!["", "a", "/a b", "/a\r\n", "/é", "/#a"].into_iter().any(path));
        let host = |text: &str| Host::try_from(text.to_owned()).is_ok();
        assert!(host("example.org") && host("[fd00::1]:8080"));
        assert!(!["", "a b", "a\r\n", "a/b", "user@host"].into_iter().any(host));
    }
}
