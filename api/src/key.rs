// SPDX-License-Identifier: Apache-2.0
//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): what a client calls a request that it may ask again.

use axum::http::{HeaderMap, HeaderName, Method, request::Parts};
use ring::digest::{Context, SHA256};
use slb_core::{
    idempotency::{Digest, Key, Keyed},
    model::Invalid,
};

use crate::problem::{Kind, Problem};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of a request, and as much as has been read of it.
pub(crate) struct Reading {
    key: Key,
    read: Context,
}

impl Reading {
    /// That of a request's method, path and query. Other methods than POST may be asked again anyway, so their keys say nothing.
    ///
    /// # Errors
    /// It has more than one, or what cannot be one.
    pub(crate) fn of(parts: &Parts) -> Result<Option<Self>, Problem> {
        if parts.method != Method::POST {
            return Ok(None);
        }
        let Some(key) = key(&parts.headers)? else { return Ok(None) };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut read = Context::new(&SHA256);
        // Neither has an end of line in it.
        read.update(format!("{}\n{path}\n", parts.method).as_bytes());
        Ok(Some(Self { key, read }))
    }

    /// With the body.
    pub(crate) fn body(&mut self, body: &[u8]) {
        self.read.update(body);
    }

    /// The whole request.
    pub(crate) fn end(self) -> Keyed {
        let mut digest = [0; 32];
        self.read.finish().as_ref().iter().zip(&mut digest).for_each(|(from, to)| *to = *from);
        Keyed { key: self.key, request: Digest(digest) }
    }
}

/// In double quotes, as the draft has it, or without.
fn key(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
    let mut all = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let wrong = |why: &str| Problem::new(Kind::BadHeader, format!("{IDEMPOTENCY_KEY} {why}"));
    if all.next().is_some() {
        return Err(wrong("is given more than once"));
    }
    let text = value.to_str().unwrap_or_default();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    Key::try_from(quoted.unwrap_or(text)).map(Some).map_err(|Invalid(why)| wrong(&why))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    fn reading(method: &str, path: &str, key: &str, body: &str) -> Keyed {
        let request = Request::builder().method(method).uri(path).header("Idempotency-Key", key).body(()).unwrap();
        let mut reading = Reading::of(&request.into_parts().0).unwrap().unwrap();
        reading.body(body.as_bytes());
        reading.end()
    }

    #[test]
    fn method_path_query_and_body_make_a_request() {
        let one = reading("POST", "/a?b=c", "\"k\"", "body");
        assert_eq!(one, reading("POST", "/a?b=c", "k", "body"));
        assert_eq!(one.key.as_str(), "k");
        for (path, body) in [("/a", "body"), ("/a?b=", "cbody"), ("/a?b=c", "bod"), ("/b?b=c", "body")] {
            assert_ne!(one.request, reading("POST", path, "k", body).request, "{path} {body}");
        }
        // As sha256sum has it: a digest is kept longer than the program that made it.
        let start = "3ca7";
        assert_eq!(&format!("{:02x}{:02x}", one.request.0[0], one.request.0[1]), start);
    }

    #[test]
    fn a_key_is_one_and_visible() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            key(&headers).map(|key| key.map(|key| key.as_str().to_owned())).map_err(|problem| problem.kind())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["8e03978e-40d5"]), Ok(Some("8e03978e-40d5".to_owned())));
        for values in
            [&[""][..], &["\"\""], &["a b"], &["\"a"], &["\"a\";b=1"], &["ü"], &["a", "a"], &["x".repeat(256).as_str()]]
        {
            assert_eq!(read(values), Err(Kind::BadHeader), "{values:?}");
        }
    }
}
