// SPDX-License-Identifier: Apache-2.0
//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110 section 13): what is there, and what whoever asks takes for granted.

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{ETAG, IF_MATCH, IF_NONE_MATCH},
    },
    response::Response,
};
use slb_core::{
    command::Rejected,
    tag::{Expected, Tag, Tags},
};

use crate::problem::{Kind, Problem};

/// What is taken for granted.
///
/// # Errors
/// A header is neither `*` nor a list of tags.
pub(crate) fn read(headers: &HeaderMap) -> Result<Expected, Problem> {
    Ok(Expected { is: tags(headers, IF_MATCH, false)?, is_not: tags(headers, IF_NONE_MATCH, true)? })
}

/// What GET answers: that it is what the client has already, or that of `shown`.
pub(crate) fn show(
    headers: &HeaderMap,
    tag: Option<Tag>,
    shown: impl FnOnce() -> Response,
) -> Result<Response, Problem> {
    let expected = read(headers)?;
    if expected.is_other(tag) {
        return Err(Rejected::NotAsExpected.into());
    }
    let mut response = if expected.is_known(tag) { Response::default() } else { shown() };
    if expected.is_known(tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    Ok(match tag {
        Some(tag) => tagged(response, tag),
        None => response,
    })
}

/// The same with the tag of what it shows.
pub(crate) fn tagged(mut response: Response, tag: Tag) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// A weak tag says that two are about the same, which is not enough to change one of them.
fn tags(headers: &HeaderMap, name: HeaderName, weak_counts: bool) -> Result<Option<Tags>, Problem> {
    let mut found = None;
    for value in headers.get_all(&name) {
        let read = value.to_str().ok().and_then(|text| list(text, weak_counts));
        let why = "is neither * nor tags in double quotes, as ETag has them";
        let read = read.ok_or_else(|| Problem::new(Kind::BadHeader, format!("{name} {why}")))?;
        found = Some(match (found, read) {
            (Some(Tags::Of(all)), Tags::Of(more)) => Tags::Of([all, more].concat()),
            (Some(Tags::Any), _) | (_, Tags::Any) => Tags::Any,
            (None, read @ Tags::Of(_)) => read,
        });
    }
    Ok(found)
}

/// `None` if it is no list. What is no tag of slb's is in none.
fn list(text: &str, weak_counts: bool) -> Option<Tags> {
    let separators = [' ', '\t', ','];
    let mut rest = text.trim_matches(separators);
    if rest == "*" {
        return Some(Tags::Any);
    }
    let (mut tags, mut is_empty) = (Vec::new(), true);
    while !rest.is_empty() {
        let (is_weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if weak_counts || !is_weak {
            tags.extend(tag.parse::<Tag>());
        }
        rest = after.trim_start_matches(separators);
        is_empty = false;
        if !rest.is_empty() && !after.trim_start().starts_with(',') {
            return None;
        }
    }
    (!is_empty).then_some(Tags::Of(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_is_read() {
        let tag = |number: u64| format!("{number:016x}").parse::<Tag>().unwrap();
        let (one, two) = ("\"0000000000000001\"", "\"0000000000000002\"");
        for (text, strong, weak) in [
            (one.to_owned(), vec![1], vec![1]),
            (format!("{one}, {two}"), vec![1, 2], vec![1, 2]),
            (format!(" ,{one},,{two} "), vec![1, 2], vec![1, 2]),
            (format!("W/{one}, {two}"), vec![2], vec![1, 2]),
            ("\"a, b\"".to_owned(), vec![], vec![]),
        ] {
            let of = |numbers: Vec<u64>| Some(Tags::Of(numbers.into_iter().map(tag).collect()));
            assert_eq!((list(&text, false), list(&text, true)), (of(strong), of(weak)), "{text}");
        }
        assert_eq!(list("*", false), Some(Tags::Any));
        for text in ["", ",", "abc", "\"abc", "abc\"", "\"a\" \"b\"", "*, \"a\"", "w/\"a\""] {
            assert_eq!(list(text, true), None, "{text}");
        }
    }
}
