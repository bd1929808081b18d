// SPDX-License-Identifier: Apache-2.0
//! What the operator says: where the API is, who asks, where addresses are wanted, and how patient to be.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    str::FromStr,
    time::Duration,
};

use reqwest::{Url, header::HeaderValue};

/// Why a text is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// Not the address of an API.
    #[error("write it like https://api.equinix.com/metal/v1, without a name, a password or a query")]
    Url,
    /// Not a token.
    #[error("it is empty, or has characters that no token has")]
    Token,
}

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiUrl(Url);

impl ApiUrl {
    /// Whether everybody on the way can read what is asked, the token included.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The address of a resource, by its path and query.
    pub(super) fn of(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for ApiUrl {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        let url: Url = text.parse().map_err(|_| BadSetting::Url)?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let has_more = !url.username().is_empty() || url.password().is_some();
        if is_web && !has_more && url.query().is_none() && url.fragment().is_none() {
            Ok(Self(url))
        } else {
            Err(BadSetting::Url)
        }
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who asks, and may. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

impl Token {
    /// As the value of the header `X-Auth-Token`.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// What somebody said, without the token should it be in there.
    pub(super) fn hide_in(&self, text: &str) -> String {
        self.0.to_str().map_or_else(|_| String::new(), |token| text.replace(token, "…"))
    }
}

impl FromStr for Token {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        let text = text.trim();
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value = HeaderValue::from_str(text).map_err(|_| BadSetting::Token)?;
        value.set_sensitive(true);
        if is_plain { Ok(Self(value)) } else { Err(BadSetting::Token) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where addresses are wanted: they are announced from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A single site, like `am6`.
    Facility(String),
    /// All sites of a city, like `am`.
    Metro(String),
}

/// How patient to be. The times are those of an operator who waits for the answer of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Until a connection stands.
    pub connect: Duration,
    /// From a call to the end of its answer.
    pub call: Duration,
    /// How often a call that is harmless to repeat is tried.
    pub tries: u32,
    /// Before the second try; later ones wait twice as long each, and a little less by chance.
    pub first_pause: Duration,
    /// No pause is longer, whatever the API asks for.
    pub longest_pause: Duration,
    /// An address that was not to be had for so long is not tried for again.
    pub acquire: Duration,
    /// Between two sweeps that nothing else calls for.
    pub sweep: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            call: Duration::from_secs(30),
            tries: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            acquire: Duration::from_secs(60),
            sweep: Duration::from_secs(600),
        }
    }
}

impl Timing {
    /// The pause after so many failures, a quarter of it by chance: many that failed at once do not come back at once.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first_pause.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let longest = doubled.min(self.longest_pause);
        let chance = RandomState::new().hash_one(()) % 256;
        longest - longest / 4 * u32::try_from(chance).unwrap_or_default() / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_reached_over_the_web_and_without_secrets_in_its_address() {
        for text in ["https://api.equinix.com/metal/v1", "https://api.equinix.com/metal/v1/", "http://127.0.0.1:8080"] {
            let path = text.parse::<ApiUrl>().unwrap().of("/projects");
            assert_eq!(path, format!("{}/projects", text.trim_end_matches('/')));
        }
        for text in ["", "api.equinix.com", "ftp://a/b", "https://me:secret@a/b", "https://a/b?x=1", "https://a/b#c"] {
            assert_eq!(text.parse::<ApiUrl>(), Err(BadSetting::Url), "{text}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let token: Token = " s3cret\n".parse().unwrap();
        assert_eq!(token.header(), "s3cret");
        assert!(!format!("{token:?} {:?}", token.header()).contains("s3cret"));
        assert_eq!(token.hide_in("who is s3cret?"), "who is …?");
        for text in ["", "  ", "two words", "grün", "a\u{7f}"] {
            assert_eq!(text.parse::<Token>(), Err(BadSetting::Token), "{text:?}");
        }
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        let timing = Timing::default();
        for (failures, longest) in [(1, 500), (2, 1_000), (3, 2_000), (8, 60_000), (u32::MAX, 60_000)] {
            let pause = timing.pause(failures);
            let longest = Duration::from_millis(longest);
            assert!(pause <= longest && pause > longest * 3 / 4 - Duration::from_millis(1), "{failures}: {pause:?}");
        }
    }
}
