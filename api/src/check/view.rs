// SPDX-License-Identifier: Apache-2.0
//! A health check as it is shown: all there is to set, as it is set or by default.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::Serialize;
use slb_core::{
    model::{
        Port,
        check::{DnsName, DnsQuestion, GrpcQuestion, HealthCheck, HttpQuestion, OnFailure, Question, Tls, UdpQuestion},
    },
    peer::PeerAddress,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HealthCheckView<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    question: QuestionView<'a>,
    interval: String,
    timeout: String,
    fast_interval: String,
    jitter: String,
    rise: u8,
    fall: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'static str>,
    port: Option<Port>,
    source: Option<IpAddr>,
    on_failure: Option<&'static str>,
    slow_start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    panic_threshold: Option<u8>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum QuestionView<'a> {
    Plain {},
    Http(HttpView<'a>),
    Udp(UdpView),
    Dns(DnsView<'a>),
    Grpc(GrpcView<'a>),
    Exec { command: &'a [String] },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpView<'a> {
    method: &'static str,
    path: &'a str,
    host: Option<&'a str>,
    headers: BTreeMap<&'a str, &'a str>,
    expect_status: String,
    expect_body: Option<String>,
    #[serde(flatten)]
    tls: Option<TlsView<'a>>,
}

#[derive(Serialize)]
struct TlsView<'a> {
    sni: Option<&'a str>,
    verify: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UdpView {
    payload: String,
    expect_answer: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DnsView<'a> {
    name: String,
    record_type: &'static str,
    expect_answer: Option<&'a str>,
}

#[derive(Serialize)]
struct GrpcView<'a> {
    service: &'a str,
    /// Whether it is spoken over that, and how.
    tls: bool,
    #[serde(flatten)]
    how: Option<TlsView<'a>>,
}

impl<'a> From<&'a HealthCheck> for HealthCheckView<'a> {
    fn from(check: &'a HealthCheck) -> Self {
        let HealthCheck { check, reaction } = check;
        let timing = check.timing;
        Self {
            r#type: check.question.kind(),
            question: QuestionView::from(&check.question),
            interval: shown(timing.interval()),
            timeout: shown(timing.timeout()),
            fast_interval: shown(timing.fast_interval()),
            jitter: shown(timing.jitter()),
            rise: timing.rise.get(),
            fall: timing.fall.get(),
            address: (!matches!(check.question, Question::Icmp | Question::Exec(_))).then(|| check.address.as_str()),
            port: check.port,
            source: check.source.map(PeerAddress::address),
            on_failure: reaction.on_failure.map(OnFailure::as_str),
            slow_start: shown(reaction.slow_start.into()),
            panic_threshold: Some(reaction.panic_threshold.get()),
        }
    }
}

impl<'a> HealthCheckView<'a> {
    /// A backend's own.
    pub(crate) fn of_backend(check: &'a HealthCheck) -> Self {
        Self { panic_threshold: None, ..Self::from(check) }
    }
}

impl<'a> From<&'a Question> for QuestionView<'a> {
    fn from(question: &'a Question) -> Self {
        match question {
            Question::Tcp | Question::Icmp => Self::Plain {},
            Question::Http(question) => Self::Http(HttpView::from(&**question)),
            Question::Udp(UdpQuestion { payload, expect }) => Self::Udp(UdpView {
                payload: payload.to_string(),
                expect_answer: expect.as_ref().map(ToString::to_string),
            }),
            Question::Dns(DnsQuestion { name, record_type, expect }) => Self::Dns(DnsView {
                name: name.to_string(),
                record_type: record_type.name(),
                expect_answer: expect.as_ref().map(|expected| expected.as_str()),
            }),
            Question::Grpc(GrpcQuestion { service, tls }) => Self::Grpc(GrpcView {
                service: service.as_str(),
                tls: tls.is_some(),
                how: tls.as_ref().map(TlsView::from),
            }),
            Question::Exec(command) => Self::Exec { command: command.words() },
        }
    }
}

impl<'a> From<&'a HttpQuestion> for HttpView<'a> {
    fn from(question: &'a HttpQuestion) -> Self {
        Self {
            method: question.method.as_str(),
            path: question.path.as_str(),
            host: question.host.as_ref().map(|host| host.as_str()),
            headers: question.headers.iter().map(|header| (header.name(), header.value())).collect(),
            expect_status: question.expect_status.to_string(),
            expect_body: question.expect_body.as_ref().map(ToString::to_string),
            tls: question.tls.as_ref().map(TlsView::from),
        }
    }
}

impl<'a> From<&'a Tls> for TlsView<'a> {
    fn from(tls: &'a Tls) -> Self {
        Self { sni: tls.name.as_ref().map(DnsName::as_str), verify: tls.verify }
    }
}

fn shown(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
