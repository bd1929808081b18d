// SPDX-License-Identifier: Apache-2.0
//! What every request gets, whichever handler it is for: an id, a span, the guard, a log line, and headers.

use std::{fmt, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method,
        header::{CACHE_CONTROL, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::{Instrument, debug, error_span, warn};
use uuid::Uuid;

use crate::{
    Options, guard,
    problem::{Kind, Problem},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id is not taken over. In characters.
const MAX_ID: usize = 64;

/// Names a request in logs, problems and the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The client's own, if it is of 1 to 64 visible ASCII characters, else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
        let sane = |id: &&str| (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        Self(given.filter(sane).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Stands around all handlers.
pub(crate) async fn exchange(State(options): State<Arc<Options>>, request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    // Of the highest level, so that the id is there at whatever level is logged.
    let span = error_span!("request", request = %id);
    let handled = async {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut response = match guard::check(&method, request.headers(), &options.names) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
        let problem = response.extensions_mut().remove::<Problem>();
        if let Some(problem) = &problem {
            response = problem.render(&id);
        }
        log(&method, &path, &response, problem.as_ref());
        finish(response, &method, &id)
    };
    handled.instrument(span).await
}

fn log(method: &Method, path: &str, response: &Response, problem: Option<&Problem>) {
    let status = response.status();
    match problem {
        Some(problem) if status.is_server_error() && problem.kind() != Kind::NotReady => {
            warn!(%method, path, status = status.as_u16(), kind = problem.kind().slug(), "{}", problem.detail());
        }
        _ => debug!(%method, path, status = status.as_u16(), "answered"),
    }
}

fn finish(mut response: Response, method: &Method, id: &RequestId) -> Response {
    if *method == Method::HEAD {
        // The body that GET would have had is measured, not sent (RFC 9110 section 9.3.2).
        let length = response.body().size_hint().exact();
        if let Some(length) = length.filter(|length| *length > 0) {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
