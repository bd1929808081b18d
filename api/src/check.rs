// SPDX-License-Identifier: Apache-2.0
//! What a health check looks like on the wire: as it is asked for, and as it is shown. What is shown can be sent back.

pub(crate) mod view;

use std::{sync::Arc, time::Duration};

use slb_core::model::{
    Invalid,
    check::{
        Address, Check, Command, DnsName, DnsQuestion, GrpcQuestion, GrpcService, Header, HealthCheck, Host,
        HttpQuestion, Method, OnFailure, PanicThreshold, Path, Payload, Question, Reaction, RecordText, RecordType,
        SlowStart, StatusRanges, Times, Timing, Tls, UdpQuestion,
    },
};

use crate::{
    fields::Fields,
    json::{Members, Node},
    read::{duration, flag, integer, peer_address, port, text},
    wire::FromFields,
};

/// The field of an object that has a check: left out, `None`; null, `Some(None)`.
pub(crate) fn health_check(fields: &mut Fields<'_>) -> Option<Option<HealthCheck>> {
    fields.object("healthCheck", HealthCheck::from_fields)
}

/// The same of a backend. How many of them fail is not its own business.
pub(crate) fn health_check_of_backend(fields: &mut Fields<'_>) -> Option<Option<HealthCheck>> {
    fields.object("healthCheck", |mut fields| {
        fields.refuse("panicThreshold", "is a share of all backends: set it in the load-balancer's healthCheck");
        HealthCheck::from_fields(fields)
    })
}

impl FromFields for HealthCheck {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        // Without the type nobody knows which fields there are.
        let kind = fields.required("type", kind)?;
        let question = kind.question(&mut fields);
        let timing = timing(&mut fields);
        let address = kind.address(&mut fields);
        let port = fields.nullable("port", port);
        let source = fields.nullable("source", peer_address);
        let reaction = Reaction {
            on_failure: fields.nullable("onFailure", parsed::<OnFailure>),
            slow_start: fields.optional("slowStart", slow_start).unwrap_or_default(),
            panic_threshold: fields.optional("panicThreshold", panic_threshold).unwrap_or_default(),
        };
        fields.finish();
        Some(Self { check: Arc::new(Check { question: question?, timing, address, port, source }), reaction })
    }
}

/// The types of questions.
#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Http,
    Https,
    Udp,
    Icmp,
    Dns,
    Grpc,
    Exec,
}

fn kind(node: &Node) -> Result<Kind, String> {
    match text(node)? {
        "tcp" => Ok(Kind::Tcp),
        "http" => Ok(Kind::Http),
        "https" => Ok(Kind::Https),
        "udp" => Ok(Kind::Udp),
        "icmp" => Ok(Kind::Icmp),
        "dns" => Ok(Kind::Dns),
        "grpc" => Ok(Kind::Grpc),
        "exec" => Ok(Kind::Exec),
        other => {
            Err(format!("{other:?} is no type of check; there are tcp, http, https, udp, icmp, dns, grpc and exec"))
        }
    }
}

impl Kind {
    /// IPVS takes no ICMP along, and a command asks whom it likes.
    fn address(self, fields: &mut Fields<'_>) -> Address {
        if matches!(self, Self::Icmp | Self::Exec) {
            fields.refuse("address", "is for checks that connect to a port, or send to one");
        }
        fields.optional("address", parsed::<Address>).unwrap_or_default()
    }

    fn question(self, fields: &mut Fields<'_>) -> Option<Question> {
        Some(match self {
            Self::Tcp => Question::Tcp,
            Self::Icmp => Question::Icmp,
            Self::Http => Question::Http(Box::new(http(fields))),
            Self::Https => {
                let tls = Some(tls(fields));
                Question::Http(Box::new(HttpQuestion { tls, ..http(fields) }))
            }
            Self::Udp => Question::Udp(UdpQuestion {
                payload: fields.optional("payload", parsed).unwrap_or_default(),
                expect: fields.nullable("expectAnswer", parsed),
            }),
            Self::Dns => Question::Dns(dns(fields)?),
            Self::Grpc => Question::Grpc(grpc(fields)),
            Self::Exec => Question::Exec(fields.required("command", command)?),
        })
    }
}

fn timing(fields: &mut Fields<'_>) -> Timing {
    let mut timing = fields.optional("interval", |node| said(Timing::every(duration(node)?))).unwrap_or_default();
    let mut with = |name, set: fn(Timing, Duration) -> Result<Timing, Invalid>| {
        timing = fields.optional(name, |node| said(set(timing, duration(node)?))).unwrap_or(timing);
    };
    with("timeout", Timing::with_timeout);
    with("fastInterval", Timing::with_fast_interval);
    with("jitter", Timing::with_jitter);
    timing.rise = fields.optional("rise", times).unwrap_or(timing.rise);
    timing.fall = fields.optional("fall", times).unwrap_or(timing.fall);
    timing
}

fn http(fields: &mut Fields<'_>) -> HttpQuestion {
    HttpQuestion {
        method: fields.optional("method", parsed::<Method>).unwrap_or_default(),
        path: fields.optional("path", |node| said(Path::try_from(text(node)?.to_owned()))).unwrap_or_default(),
        host: fields.nullable("host", |node| said(Host::try_from(text(node)?.to_owned()))),
        headers: fields.optional("headers", headers).unwrap_or_default(),
        expect_status: fields.optional("expectStatus", parsed::<StatusRanges>).unwrap_or_default(),
        expect_body: fields.nullable("expectBody", parsed::<Payload>),
        tls: None,
    }
}

fn tls(fields: &mut Fields<'_>) -> Tls {
    Tls { name: fields.nullable("sni", parsed::<DnsName>), verify: fields.optional("verify", flag).unwrap_or_default() }
}

fn dns(fields: &mut Fields<'_>) -> Option<DnsQuestion> {
    let name = fields.required("name", parsed::<DnsName>);
    let record_type = fields.optional("recordType", parsed::<RecordType>).unwrap_or_default();
    let expect = fields.nullable("expectAnswer", |node| said(RecordText::try_from(text(node)?.to_owned())));
    Some(DnsQuestion { name: name?, record_type, expect })
}

fn grpc(fields: &mut Fields<'_>) -> GrpcQuestion {
    let service = fields.optional("service", |node| said(GrpcService::try_from(text(node)?.to_owned())));
    let speaks_tls = fields.optional("tls", flag).unwrap_or_default();
    let tls = speaks_tls.then(|| tls(fields));
    GrpcQuestion { service: service.unwrap_or_default(), tls }
}

fn command(node: &Node) -> Result<Command, String> {
    let Node::List(words) = node else { return Err(format!("must be an array in [], not {}", node.kind())) };
    let words = words.iter().map(|word| text(word).map(str::to_owned)).collect::<Result<Vec<_>, _>>()?;
    said(Command::try_from(words))
}

/// An object of names and values.
fn headers(node: &Node) -> Result<Vec<Header>, String> {
    let Node::Object(Members { fields, repeated }) = node else {
        return Err(format!("must be an object in {{}}, not {}", node.kind()));
    };
    if let Some(name) = repeated.first() {
        return Err(format!("{name:?} is given more than once"));
    }
    if fields.len() > HttpQuestion::MOST_HEADERS {
        return Err(format!("there is room for {} headers", HttpQuestion::MOST_HEADERS));
    }
    let header = |(name, value): (&String, &Node)| {
        let value = text(value).map_err(|why| format!("{name:?} {why}"))?;
        said(Header::new(name.clone(), value.to_owned()))
    };
    fields.iter().map(header).collect()
}

fn times(node: &Node) -> Result<Times, String> {
    said(Times::try_from(integer(node)?))
}

fn slow_start(node: &Node) -> Result<SlowStart, String> {
    said(SlowStart::try_from(duration(node)?))
}

fn panic_threshold(node: &Node) -> Result<PanicThreshold, String> {
    said(PanicThreshold::try_from(integer(node)?))
}

fn parsed<T: std::str::FromStr<Err = Invalid>>(node: &Node) -> Result<T, String> {
    said(text(node)?.parse())
}

fn said<T>(read: Result<T, Invalid>) -> Result<T, String> {
    read.map_err(|invalid| invalid.to_string())
}

#[cfg(test)]
mod tests;
