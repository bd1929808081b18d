// SPDX-License-Identifier: Apache-2.0
//! Problem details (RFC 9457): every way in which the API says no, as one table and one body.
//!
//! A handler answers with a [`Problem`]; it becomes a body only in `exchange`, where the id of the request is
//! known. How errors of the core become problems is said in `failure`.

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use slb_core::model::Invalid;

use crate::{
    exchange::RequestId,
    fields::{Finding, Findings, percent_encode},
    json::NotJson,
    reply::to_json,
};

/// How long to wait before asking again, in seconds, where waiting helps. Failed steps are taken again within about this time.
const RETRY_AFTER_SECONDS: u16 = 5;

/// Declares [`Kind`] and its table together: a name, the last part of the type's URI, the status, the title.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $slug:literal $status:ident $title:literal;)*) => {
        /// A kind of problem. Its URI never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The `type` of the problem is `/problems/` and this.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug,)* }
            }

            /// The status it is answered with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }

            /// The same for every problem of the kind.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }
        }
    };
}

kinds! {
    /// The body cannot be parsed.
    NotJson = "not-json" BAD_REQUEST "The body is not JSON";
    /// Something else than the path takes.
    BadQuery = "bad-query" BAD_REQUEST "The query is not what this path takes";
    /// It cannot be read.
    BadHeader = "bad-header" BAD_REQUEST "A header is not what it should be";
    /// The connection broke, or the body's encoding is wrong.
    BodyIncomplete = "body-incomplete" BAD_REQUEST "The body did not arrive whole";
    /// A web page of another site sent the request.
    CrossSite = "cross-site" FORBIDDEN "Refused for a web page of another site";
    /// No such path.
    UnknownPath = "unknown-path" NOT_FOUND "There is nothing at this path";
    /// No such load-balancer.
    UnknownLoadBalancer = "unknown-load-balancer" NOT_FOUND "There is no such load-balancer";
    /// No such backend.
    UnknownBackend = "unknown-backend" NOT_FOUND "There is no such backend";
    /// No such peer.
    UnknownPeer = "unknown-peer" NOT_FOUND "There is no such peer";
    /// The path has no such method.
    MethodNotAllowed = "method-not-allowed" METHOD_NOT_ALLOWED "The path does not take this method";
    /// The body came too slowly.
    BodySlow = "body-slow" REQUEST_TIMEOUT "The body took too long to arrive";
    /// Another load-balancer has the address and port.
    EndpointTaken = "endpoint-taken" CONFLICT "The address and port belong to another load-balancer";
    /// The backend is there already, or twice in one body.
    BackendExists = "backend-exists" CONFLICT "The load-balancer has this backend already";
    /// A broadcast address of this host's networks, a second one on a host without NAT, another address family without a tunnel.
    BackendUnfit = "backend-unfit" CONFLICT "The backend could never get connections of its own";
    /// One of them is of no use with the others.
    SettingsDiscord = "settings-discord" CONFLICT "The settings do not go together";
    /// Commands are not allowed.
    CommandsOff = "commands-off" CONFLICT "This server runs no commands for health checks";
    /// The peer is there already.
    PeerExists = "peer-exists" CONFLICT "There is a peer with this address";
    /// The command line has it.
    PeerIsAnOption = "peer-is-an-option" CONFLICT "The peer is given by an option of the server";
    /// VIPs are announced by ARP.
    NoBgp = "no-bgp" CONFLICT "This server does not announce by BGP";
    /// Another program has them.
    PeersElsewhere = "peers-elsewhere" CONFLICT "The peers are those of another program";
    /// The field cannot be changed.
    Immutable = "immutable" CONFLICT "The field cannot be changed";
    /// The configuration file has it.
    OfFile = "of-file" CONFLICT "The load-balancer is of the configuration file";
    /// There is no configuration file.
    NoFile = "no-file" CONFLICT "This server has no configuration file";
    /// A module is missing, or the kernel is too old.
    Unsupported = "unsupported" CONFLICT "The kernel lacks what is asked for";
    /// A request with it is under way.
    KeyInUse = "key-in-use" CONFLICT "The request with this Idempotency-Key is under way";
    /// It is on its way out.
    BeingDeleted = "being-deleted" CONFLICT "The load-balancer is being deleted";
    /// Nobody can say without doing it.
    Unforeseen = "unforeseen" CONFLICT "The plan depends on what a provider does";
    /// Another host answers for the address.
    AddressInUse = "address-in-use" CONFLICT "Another host uses the address";
    /// The address must not be handed out.
    AddressUnavailable = "address-unavailable" CONFLICT "The address cannot be handed out";
    /// Not an address of this server's range.
    AddressOutsideRange = "address-outside-range" CONFLICT "The address is not in this server's range";
    /// The kernel has a service there that slb did not make.
    ForeignService = "foreign-service" CONFLICT "Another program balances this address and port";
    /// Its tag is another one than the request expects.
    NotAsExpected = "not-as-expected" PRECONDITION_FAILED "It is not as the request expects";
    /// More than the limit.
    TooLarge = "too-large" PAYLOAD_TOO_LARGE "The body is too large";
    /// JSON, but not what is asked for.
    Invalid = "invalid" UNPROCESSABLE_ENTITY "The body is not what this request takes";
    /// It was given with another method, path or body.
    KeyOfAnother = "key-of-another" UNPROCESSABLE_ENTITY "The Idempotency-Key is that of another request";
    /// It takes a kernel.
    Unserved = "unserved" UNPROCESSABLE_ENTITY "The data plane of this server cannot do what is asked for";
    /// The kernel refused.
    StepRefused = "step-refused" INTERNAL_SERVER_ERROR "A step was refused";
    /// An answer that does not fit the question.
    Internal = "internal" INTERNAL_SERVER_ERROR "slb contradicts itself";
    /// The provider of addresses failed.
    ProviderFailed = "provider-failed" BAD_GATEWAY "The provider of addresses failed";
    /// The kernel, the host or the network did not answer a question.
    SystemUnreadable = "system-unreadable" SERVICE_UNAVAILABLE "The state of the system could not be read";
    /// A step failed and may succeed later.
    StepFailed = "step-failed" SERVICE_UNAVAILABLE "A step failed";
    /// No address is left.
    PoolExhausted = "pool-exhausted" SERVICE_UNAVAILABLE "No address is left";
    /// No mark is left.
    MarksExhausted = "marks-exhausted" SERVICE_UNAVAILABLE "No mark is left";
    /// The store could not be written.
    StoreFailed = "store-failed" SERVICE_UNAVAILABLE "The change could not be stored";
    /// The program that announces routes does not answer.
    DaemonAway = "daemon-away" SERVICE_UNAVAILABLE "The routing daemon does not answer";
    /// Nobody more may follow events.
    TooManyStreams = "too-many-streams" SERVICE_UNAVAILABLE "Too many clients follow events";
    /// The server is stopping.
    Stopping = "stopping" SERVICE_UNAVAILABLE "The server is stopping";
    /// The kernel has not been brought to the desired state yet.
    NotReady = "not-ready" SERVICE_UNAVAILABLE "The server is not ready yet";
    /// The disk is full.
    StoreFull = "store-full" INSUFFICIENT_STORAGE "There is no room to store the change";
}

impl Kind {
    /// Whether it passes if one waits, with nobody doing anything.
    fn passes(self) -> bool {
        matches!(self, Self::StepFailed | Self::DaemonAway | Self::TooManyStreams | Self::Stopping | Self::NotReady)
    }
}

/// Why a request was not granted.
#[derive(Clone, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    allow: Option<String>,
    members: Members,
}

/// What some kinds say beside RFC 9457's members.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Members {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) taken_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undone: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: String,
    request_id: &'a str,
    #[serde(flatten)]
    members: &'a Members,
}

impl Problem {
    /// A problem of that kind; `detail` says what is wrong this time and what to do.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self::with(kind, detail, Members::default())
    }

    /// The same, with more to say.
    pub(crate) fn with(kind: Kind, detail: impl Into<String>, members: Members) -> Self {
        Self(Box::new(Inner { kind, detail: detail.into(), allow: None, members }))
    }

    /// 405; `allow` lists the methods that there are.
    pub(crate) fn method_not_allowed(method: &str, allow: &str) -> Self {
        let mut problem = Self::new(Kind::MethodNotAllowed, format!("{method} is not among {allow}"));
        problem.0.allow = Some(allow.to_owned());
        problem
    }

    /// 409 for a field that has another value for good.
    pub(crate) fn fixed(field: &'static str, detail: impl Into<String>) -> Self {
        Self::with(Kind::Immutable, detail, Members { field: Some(field), ..Members::default() })
    }

    /// 422 with everything that is wrong.
    pub(crate) fn invalid(findings: Findings) -> Self {
        let (errors, untold) = findings.into_parts();
        let mut detail: Vec<String> =
            errors.iter().map(|finding| format!("{}: {}", finding.pointer, finding.detail)).collect();
        if untold > 0 {
            detail.push(format!("and {untold} more"));
        }
        Self::with(Kind::Invalid, detail.join("; "), Members { errors, ..Members::default() })
    }

    /// 422 for one value.
    pub(crate) fn invalid_at(pointer: &str, why: &Invalid) -> Self {
        let mut findings = Findings::default();
        findings.add(|| (pointer.to_owned(), why.to_string()));
        Self::invalid(findings)
    }

    /// The same of what is at this pointer of the body.
    pub(crate) fn within(mut self, at: &str) -> Self {
        let Inner { detail, members, .. } = &mut *self.0;
        for error in &mut members.errors {
            let pointer = format!("{at}{}", error.pointer.trim_start_matches('#'));
            *detail = detail.replace(&error.pointer, &pointer);
            error.pointer = pointer;
        }
        if members.errors.is_empty() {
            *detail = format!("{at}: {detail}");
            members.pointer = Some(at.to_owned());
        }
        self
    }

    /// Which kind it is.
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What was wrong, for the log.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The response that tells of it.
    pub(crate) fn render(&self, id: &RequestId) -> Response {
        let Inner { kind, detail, allow, members } = &*self.0;
        let body = to_json(&Document {
            r#type: format!("/problems/{}", kind.slug()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail,
            instance: format!("/requests/{}", percent_encode(id.as_str())),
            request_id: id.as_str(),
            members,
        });
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if kind.passes() {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if let Some(allow) = allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl From<NotJson> for Problem {
    fn from(NotJson { why, line, column }: NotJson) -> Self {
        let detail = format!("line {line}, column {column}: {why}");
        Self::with(Kind::NotJson, detail, Members { line: Some(line), column: Some(column), ..Members::default() })
    }
}

/// Carried in the response's extensions to where the request's id is known.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
