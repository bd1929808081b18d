// SPDX-License-Identifier: Apache-2.0
//! Responses that say yes.

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, LOCATION},
    },
    response::Response,
};
use serde::Serialize;

use crate::problem::{Kind, Problem};

/// Compact JSON and a newline, as the original writes it.
#[expect(clippy::expect_used, reason = "bodies have text keys, and writing to memory does not fail")]
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut body = serde_json::to_vec(value).expect("a body of text keys and plain values");
    body.push(b'\n');
    body
}

/// 200 with the object.
pub(crate) fn ok(value: &impl Serialize) -> Response {
    typed("application/json", to_json(value))
}

/// 200 with a body of that media type.
pub(crate) fn typed(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 201 with the object and its place.
pub(crate) fn created(place: &str, value: &impl Serialize) -> Response {
    let mut response = ok(value);
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// 204.
pub(crate) fn gone() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The controller answered another question than the one asked.
pub(crate) fn contradiction() -> Problem {
    Problem::new(Kind::Internal, "the controller's answer does not fit the question; please report this")
}
