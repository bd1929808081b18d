// SPDX-License-Identifier: Apache-2.0
//! What is written of a health check, as a part of the record that has it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use slb_core::{
    model::{
        Invalid, Port,
        check::{
            Address, Check, Command, DnsQuestion, GrpcQuestion, Header, HealthCheck, HttpQuestion, OnFailure,
            PanicThreshold, Payload, Question, Reaction, RecordText, SlowStart, Times, Timing, Tls, UdpQuestion,
        },
    },
    peer::PeerAddress,
};

/// Times are in nanoseconds; words of the API are written as such. Whether it asks for a VIP is written elsewhere.
#[derive(Serialize, Deserialize)]
pub(super) struct CheckV3 {
    question: QuestionV3,
    interval: u64,
    timeout: u64,
    fast_interval: u64,
    jitter: u64,
    rise: u8,
    fall: u8,
    port: Option<u16>,
    source: Option<IpAddr>,
    /// Empty: left to the protocol.
    on_failure: String,
    slow_start: u64,
    panic_threshold: u8,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum QuestionV3 {
    Tcp,
    Http(HttpV3),
    Udp { payload: Vec<u8>, expect: Option<Vec<u8>> },
    Icmp,
    Dns { name: String, record_type: String, expect: Option<String> },
    Grpc { service: String, tls: Option<TlsV3> },
    Exec(Vec<String>),
}

#[derive(Serialize, Deserialize)]
struct HttpV3 {
    method: String,
    path: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    expect_status: String,
    expect_body: Option<Vec<u8>>,
    tls: Option<TlsV3>,
}

#[derive(Serialize, Deserialize)]
struct TlsV3 {
    name: Option<String>,
    verify: bool,
}

impl From<&HealthCheck> for CheckV3 {
    fn from(HealthCheck { check, reaction }: &HealthCheck) -> Self {
        let timing = check.timing;
        Self {
            question: QuestionV3::from(&check.question),
            interval: nanos(timing.interval()),
            timeout: nanos(timing.timeout()),
            fast_interval: nanos(timing.fast_interval()),
            jitter: nanos(timing.jitter()),
            rise: timing.rise.get(),
            fall: timing.fall.get(),
            port: check.port.map(Port::get),
            source: check.source.map(PeerAddress::address),
            on_failure: reaction.on_failure.map_or("", OnFailure::as_str).to_owned(),
            slow_start: nanos(reaction.slow_start.into()),
            panic_threshold: reaction.panic_threshold.get(),
        }
    }
}

impl TryFrom<CheckV3> for HealthCheck {
    type Error = Invalid;

    fn try_from(record: CheckV3) -> Result<Self, Invalid> {
        let time = Duration::from_nanos;
        let timing = Timing::every(time(record.interval))?;
        let timing = timing.with_timeout(time(record.timeout))?.with_fast_interval(time(record.fast_interval))?;
        let mut timing = timing.with_jitter(time(record.jitter))?;
        timing.rise = Times::try_from(i64::from(record.rise))?;
        timing.fall = Times::try_from(i64::from(record.fall))?;
        let check = Check {
            question: record.question.try_into()?,
            timing,
            address: Address::default(),
            port: record.port.map(|port| Port::try_from(i64::from(port))).transpose()?,
            source: record.source.map(PeerAddress::try_from).transpose()?,
        };
        let reaction = Reaction {
            on_failure: if record.on_failure.is_empty() { None } else { Some(record.on_failure.parse()?) },
            slow_start: SlowStart::try_from(time(record.slow_start))?,
            panic_threshold: PanicThreshold::try_from(i64::from(record.panic_threshold))?,
        };
        Ok(Self { check: Arc::new(check), reaction })
    }
}

/// None of the times here is longer than an hour.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&Question> for QuestionV3 {
    fn from(question: &Question) -> Self {
        let bytes = |payload: &Payload| payload.bytes().to_vec();
        match question {
            Question::Tcp => Self::Tcp,
            Question::Http(question) => Self::Http(HttpV3::from(&**question)),
            Question::Udp(UdpQuestion { payload, expect }) => {
                Self::Udp { payload: bytes(payload), expect: expect.as_ref().map(bytes) }
            }
            Question::Icmp => Self::Icmp,
            Question::Dns(DnsQuestion { name, record_type, expect }) => Self::Dns {
                name: name.to_string(),
                record_type: record_type.name().to_owned(),
                expect: expect.as_ref().map(|expected| expected.as_str().to_owned()),
            },
            Question::Grpc(GrpcQuestion { service, tls }) => {
                Self::Grpc { service: service.as_str().to_owned(), tls: tls.as_ref().map(TlsV3::from) }
            }
            Question::Exec(command) => Self::Exec(command.words().to_vec()),
        }
    }
}

impl TryFrom<QuestionV3> for Question {
    type Error = Invalid;

    fn try_from(record: QuestionV3) -> Result<Self, Invalid> {
        Ok(match record {
            QuestionV3::Tcp => Self::Tcp,
            QuestionV3::Http(record) => Self::Http(Box::new(record.try_into()?)),
            QuestionV3::Udp { payload, expect } => Self::Udp(UdpQuestion {
                payload: payload.try_into()?,
                expect: expect.map(Payload::try_from).transpose()?,
            }),
            QuestionV3::Icmp => Self::Icmp,
            QuestionV3::Dns { name, record_type, expect } => Self::Dns(DnsQuestion {
                name: name.parse()?,
                record_type: record_type.parse()?,
                expect: expect.map(RecordText::try_from).transpose()?,
            }),
            QuestionV3::Grpc { service, tls } => {
                Self::Grpc(GrpcQuestion { service: service.try_into()?, tls: tls.map(Tls::try_from).transpose()? })
            }
            QuestionV3::Exec(words) => Self::Exec(Command::try_from(words)?),
        })
    }
}

impl From<&HttpQuestion> for HttpV3 {
    fn from(question: &HttpQuestion) -> Self {
        let header = |header: &Header| (header.name().to_owned(), header.value().to_owned());
        Self {
            method: question.method.as_str().to_owned(),
            path: question.path.as_str().to_owned(),
            host: question.host.as_ref().map(|host| host.as_str().to_owned()),
            headers: question.headers.iter().map(header).collect(),
            expect_status: question.expect_status.to_string(),
            expect_body: question.expect_body.as_ref().map(|expected| expected.bytes().to_vec()),
            tls: question.tls.as_ref().map(TlsV3::from),
        }
    }
}

impl TryFrom<HttpV3> for HttpQuestion {
    type Error = Invalid;

    fn try_from(record: HttpV3) -> Result<Self, Invalid> {
        let header = |(name, value)| Header::new(name, value);
        Ok(Self {
            method: record.method.parse()?,
            path: record.path.try_into()?,
            host: record.host.map(TryInto::try_into).transpose()?,
            headers: record.headers.into_iter().map(header).collect::<Result<_, _>>()?,
            expect_status: record.expect_status.parse()?,
            expect_body: record.expect_body.map(Payload::try_from).transpose()?,
            tls: record.tls.map(Tls::try_from).transpose()?,
        })
    }
}

impl From<&Tls> for TlsV3 {
    fn from(tls: &Tls) -> Self {
        Self { name: tls.name.as_ref().map(ToString::to_string), verify: tls.verify }
    }
}

impl TryFrom<TlsV3> for Tls {
    type Error = Invalid;

    fn try_from(record: TlsV3) -> Result<Self, Invalid> {
        Ok(Self { name: record.name.map(|name| name.parse()).transpose()?, verify: record.verify })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(question: Question) -> Vec<u8> {
        written_with(question, Some(OnFailure::Remove))
    }

    fn written_with(question: Question, on_failure: Option<OnFailure>) -> Vec<u8> {
        let timing = Timing::every(Duration::from_millis(500)).unwrap().with_jitter(Duration::from_millis(7)).unwrap();
        let (port, source) = (Port::try_from(8080).ok(), PeerAddress::try_from(IpAddr::from([10, 0, 0, 1])).ok());
        let check = HealthCheck {
            check: Arc::new(Check { question, timing, address: Address::default(), port, source }),
            reaction: Reaction {
                on_failure,
                slow_start: Duration::from_secs(30).try_into().unwrap(),
                panic_threshold: 50.try_into().unwrap(),
            },
        };
        let bytes = postcard::to_extend(&CheckV3::from(&check), Vec::new()).unwrap();
        let read: CheckV3 = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(HealthCheck::try_from(read).unwrap(), check);
        bytes
    }

    #[test]
    fn every_question_is_read_as_it_was_written() {
        let tls = Some(Tls { name: Some("a.example".parse().unwrap()), verify: true });
        let http = HttpQuestion {
            method: "HEAD".parse().unwrap(),
            path: "/x?y".to_owned().try_into().unwrap(),
            host: Some("b.example:8".to_owned().try_into().unwrap()),
            headers: vec![Header::new("X-A".to_owned(), "b".to_owned()).unwrap()],
            expect_status: "200,301-399".parse().unwrap(),
            expect_body: Some(r"\x00ok".parse().unwrap()),
            tls: tls.clone(),
        };
        let name = ".".parse().unwrap();
        let expect = Some("10 mail.example.".to_owned().try_into().unwrap());
        for question in [
            Question::Http(Box::default()),
            Question::Http(Box::new(http)),
            Question::Udp(UdpQuestion { payload: r"\xff".parse().unwrap(), expect: Some(Payload::default()) }),
            Question::Icmp,
            Question::Dns(DnsQuestion { name, record_type: "MX".parse().unwrap(), expect }),
            Question::Grpc(GrpcQuestion { service: "a.B".to_owned().try_into().unwrap(), tls }),
            Question::Exec(vec!["/bin/true".to_owned(), String::new()].try_into().unwrap()),
        ] {
            written(question);
        }
    }

    #[test]
    fn what_was_left_to_the_protocol_stays_so() {
        for way in [None, Some(OnFailure::Weight0)] {
            written_with(Question::Tcp, way);
        }
    }

    /// On disks out there, as soon as a version that writes it is.
    #[test]
    fn the_record_is_laid_out_as_ever() {
        let bytes = [
            &[0, 128, 202, 181, 238, 1, 128, 202, 181, 238, 1, 128, 229, 154, 119, 192, 159, 171, 3, 2, 3][..],
            &[1, 144, 63, 1, 0, 10, 0, 0, 1, 6],
            b"remove",
            &[128, 216, 142, 225, 111, 50],
        ];
        assert_eq!(written(Question::Tcp), bytes.concat());
    }

    #[test]
    fn what_could_not_be_asked_for_cannot_be_read() {
        let good = written(Question::Tcp);
        // rise
        let at = good.len() - 24;
        assert_eq!(good[at], 2);
        let bad = [&good[..at], &[0], &good[at + 1..]].concat();
        let read: CheckV3 = postcard::from_bytes(&bad).unwrap();
        assert!(HealthCheck::try_from(read).is_err());
    }
}
