// SPDX-License-Identifier: Apache-2.0
//! Reads requests: ids out of paths, wishes out of bodies.

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, header::CONTENT_LENGTH, request::Parts},
};
use http_body_util::BodyExt;
use slb_core::{
    model::{BackendId, Invalid, LoadBalancerId},
    peer::PeerAddress,
};
use uuid::Uuid;

use crate::{
    Api,
    fields::{Fields, Findings},
    json::Node,
    problem::{Kind, Problem},
    read::{parse_peer_address, parse_uuid},
    terms::Terms,
    wire::{BODY_LIMIT, FromFields, MANY_LIMIT},
};

/// What is over the limit is read and thrown away up to here: most clients look for an answer only once they have sent all. In bytes.
const DISCARD_LIMIT: usize = 4 * MANY_LIMIT;

/// The load-balancer that a path names.
pub(crate) struct LoadBalancerPath(pub(crate) LoadBalancerId);

/// The backend that a path names, and its load-balancer.
pub(crate) struct BackendPath(pub(crate) LoadBalancerId, pub(crate) BackendId);

impl FromRequestParts<Api> for LoadBalancerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let load_balancer = id(parts, api, "uuid", Kind::UnknownLoadBalancer).await?;
        Ok(Self(LoadBalancerId(load_balancer)))
    }
}

impl FromRequestParts<Api> for BackendPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let LoadBalancerPath(load_balancer) = LoadBalancerPath::from_request_parts(parts, api).await?;
        let backend = id(parts, api, "backenduuid", Kind::UnknownBackend).await?;
        Ok(Self(load_balancer, BackendId(backend)))
    }
}

/// The peer that a path names.
pub(crate) struct PeerPath(pub(crate) PeerAddress);

impl FromRequestParts<Api> for PeerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let given = parameter(parts, api, "address").await?;
        match parse_peer_address(&given) {
            Some(Ok(address)) => Ok(Self(address)),
            Some(Err(_)) | None => Err(Problem::new(
                Kind::UnknownPeer,
                format!("{given:?} is not the address of a host, so it names nothing"),
            )),
        }
    }
}

async fn parameter(parts: &mut Parts, api: &Api, name: &str) -> Result<String, Problem> {
    let params = RawPathParams::from_request_parts(parts, api)
        .await
        .map_err(|error| Problem::new(Kind::UnknownPath, error.to_string()))?;
    Ok(params.iter().find(|(param, _)| *param == name).map_or("", |(_, value)| value).to_owned())
}

async fn id(parts: &mut Parts, api: &Api, name: &str, unknown: Kind) -> Result<Uuid, Problem> {
    let given = parameter(parts, api, name).await?;
    parse_uuid(&given).ok_or_else(|| Problem::new(unknown, format!("{given:?} is not a UUID, so it names nothing")))
}

/// No body: what somebody says there of a drain would be passed over.
pub(crate) struct Bodiless;

impl FromRequest<Api> for Bodiless {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self);
        }
        let why = "is not read here; how long it may take is said behind the path, as ?deadline=30s";
        Err(Problem::invalid_at("#", &Invalid(why.to_owned())))
    }
}

/// What a body can be read as.
pub(crate) trait FromBody: Sized {
    /// The most that a body may have, in bytes.
    const LIMIT: usize;

    /// What it says.
    fn from_body(body: &[u8]) -> Result<Self, Problem>;
}

/// A wish read from the body, which is taken for JSON whatever `Content-Type` says: the original's documented calls send none.
pub(crate) struct Wish<T>(pub(crate) T);

impl<T: FromFields> FromBody for Wish<T> {
    const LIMIT: usize = BODY_LIMIT;

    fn from_body(body: &[u8]) -> Result<Self, Problem> {
        parse(body).map(Self)
    }
}

impl<T: FromFields> FromRequest<Api> for Wish<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        Self::from_body(&body(request, api, Self::LIMIT).await?)
    }
}

/// A list of wishes read from the body.
pub(crate) struct Wishes<T>(pub(crate) Vec<T>);

impl<T: FromFields> FromBody for Wishes<T> {
    const LIMIT: usize = T::LIST_LIMIT;

    fn from_body(body: &[u8]) -> Result<Self, Problem> {
        parse_list(body).map(Self)
    }
}

impl<T: FromFields> FromRequest<Api> for Wishes<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        Self::from_body(&body(request, api, Self::LIMIT).await?)
    }
}

/// A wish read from the body, or a list of them with at least one.
pub(crate) enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T: FromFields> FromBody for OneOrMore<T> {
    const LIMIT: usize = BODY_LIMIT;

    fn from_body(body: &[u8]) -> Result<Self, Problem> {
        if body.trim_ascii_start().first() != Some(&b'[') {
            return parse(body).map(Self::One);
        }
        let wishes = parse_list(body)?;
        check_some(&wishes)?;
        Ok(Self::More(wishes))
    }
}

/// What is asked for, on terms that know of the body: with a key, another body is another request.
pub(crate) struct OnTerms<B>(pub(crate) Terms, pub(crate) B);

impl<B: FromBody> FromRequest<Api> for OnTerms<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (mut parts, rest) = request.into_parts();
        let mut terms = Terms::from_request_parts(&mut parts, api).await?;
        let body = body(Request::from_parts(parts, rest), api, B::LIMIT).await?;
        terms.read(&body);
        Ok(Self(terms, B::from_body(&body)?))
    }
}

async fn body(request: Request, api: &Api, limit: usize) -> Result<Vec<u8>, Problem> {
    if announced_length(request.headers()).is_some_and(|length| length > DISCARD_LIMIT) {
        return Err(too_large(limit));
    }
    let timeout = api.options.body_timeout;
    match tokio::time::timeout(timeout, read(request.into_body(), limit)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large(limit)),
        Ok(Err(error)) => Err(Problem::new(Kind::BodyIncomplete, slb_core::errors::Chain(&error).to_string())),
        Err(_elapsed) => Err(Problem::new(
            Kind::BodySlow,
            format!("the body has not arrived within {} seconds", timeout.as_secs_f32()),
        )),
    }
}

/// The whole body; `None` if it is too large.
async fn read(mut body: Body, limit: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let mut read = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= limit {
            read.extend_from_slice(&data);
        } else if length <= DISCARD_LIMIT {
            read = Vec::new();
        } else {
            break;
        }
    }
    Ok((length <= limit).then_some(read))
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("a body has at most {limit} bytes here"))
}

/// The wish that a body states.
///
/// # Errors
/// It is not JSON, or not what is asked for; then everything that is wrong with it.
pub(crate) fn parse<T: FromFields>(body: &[u8]) -> Result<T, Problem> {
    check_not_empty(body, "a JSON object")?;
    let mut findings = Findings::default();
    let fields = Fields::of(Node::parse(body)?, "#".to_owned(), &mut findings);
    match fields.and_then(T::from_fields) {
        Some(wish) if findings.is_empty() => Ok(wish),
        _ => Err(Problem::invalid(findings)),
    }
}

/// The wishes that a body lists.
///
/// # Errors
/// As with [`parse`].
fn parse_list<T: FromFields>(body: &[u8]) -> Result<Vec<T>, Problem> {
    check_not_empty(body, "a JSON array")?;
    let (mut findings, mut wishes, mut index) = (Findings::default(), Vec::new(), 0_usize);
    let other = Node::each(body, |item| {
        let wish = Fields::of(item, format!("#/{index}"), &mut findings).and_then(T::from_fields);
        wishes.extend(wish);
        index += 1;
    })?;
    if let Some(other) = other {
        findings.add(|| ("#".to_owned(), format!("must be an array in [], not {}", other.kind())));
    }
    if findings.is_empty() { Ok(wishes) } else { Err(Problem::invalid(findings)) }
}

/// A list of nothing asks for nothing.
pub(crate) fn check_some<T>(wishes: &[T]) -> Result<(), Problem> {
    if wishes.is_empty() { Err(Problem::invalid_at("#", &Invalid("has nothing in it".to_owned()))) } else { Ok(()) }
}

fn check_not_empty(body: &[u8], wanted: &str) -> Result<(), Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Kind::NotJson, format!("the body is empty; send {wanted}")));
    }
    Ok(())
}
