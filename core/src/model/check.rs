// SPDX-License-Identifier: Apache-2.0
//! A health check as an operator asks for it: [`Check`] is what a backend is asked and how often, [`Reaction`] what comes of the
//! answers. Load-balancers that ask a backend the same share the asking, whatever each of them makes of it.

mod address;
mod dns;
mod http;
mod payload;
mod timing;

use std::{sync::Arc, time::Duration};

pub use self::{
    address::Address,
    dns::{DnsName, DnsQuestion, RecordText, RecordType},
    http::{Header, Host, HttpQuestion, Method, Path, StatusRanges},
    payload::Payload,
    timing::{Times, Timing},
};
use super::{Invalid, Port, Protocol};
use crate::peer::PeerAddress;

/// What a load-balancer asks its backends, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked and how often.
    pub check: Arc<Check>,
    /// What comes of it.
    pub reaction: Reaction,
}

impl HealthCheck {
    /// Whether it runs a command on this host, which operators have to allow.
    #[must_use]
    pub fn runs_a_command(&self) -> bool {
        matches!(self.check.question, Question::Exec(_))
    }
}

/// What a backend is asked, how often, and how many answers decide. It is asked itself, never by way of the balancing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Check {
    /// What is asked.
    pub question: Question,
    /// How often, and how many answers decide.
    pub timing: Timing,
    /// Which address of the backend is asked.
    pub address: Address,
    /// The port that is asked; by default the backend's own, or of a VIP the load-balancer's.
    pub port: Option<Port>,
    /// The address of this host that asks; the kernel's choice by default.
    pub source: Option<PeerAddress>,
}

impl Check {
    /// Whether it asks the same, be it at other times.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        let Self { question, timing: _, address, port, source } = self;
        (question, address, port, source) == (&other.question, &other.address, &other.port, &other.source)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// A TCP connection, which is reset as soon as it stands.
    Tcp,
    /// A request, with TLS or without.
    Http(Box<HttpQuestion>),
    /// A datagram.
    Udp(UdpQuestion),
    /// An ICMP echo. The port means nothing.
    Icmp,
    /// A name.
    Dns(DnsQuestion),
    /// A call of grpc.health.v1.Health.
    Grpc(GrpcQuestion),
    /// A command on this host.
    Exec(Command),
}

impl Question {
    /// Whether it takes a TCP connection.
    #[must_use]
    pub fn connects(&self) -> bool {
        match self {
            Self::Tcp | Self::Http(_) | Self::Grpc(_) => true,
            Self::Udp(_) | Self::Icmp | Self::Dns(_) | Self::Exec(_) => false,
        }
    }

    /// The word that the API uses.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(question) if question.tls.is_some() => "https",
            Self::Http(_) => "http",
            Self::Udp(_) => "udp",
            Self::Icmp => "icmp",
            Self::Dns(_) => "dns",
            Self::Grpc(_) => "grpc",
            Self::Exec(_) => "exec",
        }
    }
}

/// How TLS is spoken to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tls {
    /// The name that is asked for (SNI, RFC 6066) and, if the certificate is verified, is in it. None is sent by default, and the certificate
    /// is for the backend's address.
    pub name: Option<DnsName>,
    /// Whether the system has to trust the certificate. Not by default: certificates are made for what clients connect to, and
    /// clients verify them.
    pub verify: bool,
}

/// A datagram, and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpQuestion {
    /// What is sent; may be empty.
    pub payload: Payload,
    /// What has to be somewhere in the answer; empty for any answer. Without it silence is fine, and a backend fails only by
    /// refusing the datagram (port unreachable).
    pub expect: Option<Payload>,
}

/// A call of grpc.health.v1.Health/Check, which has to answer `SERVING`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrpcQuestion {
    /// The service that is asked for; empty for the server as a whole.
    pub service: GrpcService,
    /// In the clear by default.
    pub tls: Option<Tls>,
}

/// The name of a gRPC service: up to 255 printable ASCII characters, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrpcService(String);

impl GrpcService {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GrpcService {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        const LONGEST: usize = 255;
        if text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(Invalid(format!("the name of a gRPC service has up to {LONGEST} printable ASCII characters")))
        }
    }
}

/// A program and its arguments: an absolute path and up to 63 more words, 4096 bytes in all. No shell reads them.
///
/// The program is told where the backend is by `SLB_BACKEND_IP` and `SLB_BACKEND_PORT`; it says that all is well by ending with 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command(Vec<String>);

impl Command {
    /// The path of the program.
    #[must_use]
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// What follows it.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }

    /// All of it.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Command {
    type Error = Invalid;

    fn try_from(words: Vec<String>) -> Result<Self, Invalid> {
        const MOST: usize = 64;
        const LONGEST: usize = 4096;
        let wrong = |why: String| Err(Invalid(why));
        let Some(program) = words.first() else {
            return wrong("a command has at least one word: a program".to_owned());
        };
        if !program.starts_with('/') {
            return wrong(format!("{program:?} is no absolute path of a program; it begins with a slash"));
        }
        if words.len() > MOST || words.iter().map(String::len).sum::<usize>() > LONGEST {
            return wrong(format!("a command has at most {MOST} words, and {LONGEST} bytes in all"));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return wrong("no word of a command has a zero in it".to_owned());
        }
        Ok(Self(words))
    }
}

/// What a load-balancer makes of its backends' health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reaction {
    /// How a backend that failed is taken out; `None` leaves that to the protocol ([`OnFailure::of`]).
    pub on_failure: Option<OnFailure>,
    /// How long the weight of one that came back takes until it is what was asked for.
    pub slow_start: SlowStart,
    /// When so many fail that it is better to send to all.
    pub panic_threshold: PanicThreshold,
}

/// How a backend that failed is taken out; `onFailure` in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// It gets no new connections; those that it has may finish.
    Weight0,
    /// It is removed, and its connections end.
    Remove,
}

impl OnFailure {
    /// How it is done if nobody chose: connections may finish where somebody finishes them. To the kernel a client of UDP that keeps its port
    /// is one connection that never ends, so with a weight of 0 it would go on sending to what is dead.
    #[must_use]
    pub fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp | Protocol::Sctp => Self::Weight0,
            Protocol::Udp => Self::Remove,
        }
    }

    /// The word that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weight0 => "weight0",
            Self::Remove => "remove",
        }
    }
}

impl std::str::FromStr for OnFailure {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Weight0, Self::Remove].into_iter().find(|way| way.as_str() == text).ok_or_else(|| {
            Invalid(format!("{text:?} is no way to take a backend out; there are \"weight0\" and \"remove\""))
        })
    }
}

/// How long a weight is raised: up to an hour, zero for not at all, which is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SlowStart(Duration);

impl From<SlowStart> for Duration {
    fn from(time: SlowStart) -> Self {
        time.0
    }
}

impl TryFrom<Duration> for SlowStart {
    type Error = Invalid;

    fn try_from(time: Duration) -> Result<Self, Invalid> {
        const LONGEST: Duration = Duration::from_secs(60 * 60);
        if time <= LONGEST { Ok(Self(time)) } else { Err(Invalid("a slow start takes up to an hour".to_owned())) }
    }
}

/// The share of backends in percent, 0 to 100, above which failures are not believed. Never, by default, as with 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PanicThreshold(u8);

impl PanicThreshold {
    /// In percent.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for PanicThreshold {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<i64> for PanicThreshold {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Self, Invalid> {
        let percent = u8::try_from(number).ok().filter(|percent| *percent <= 100);
        percent.map(Self).ok_or_else(|| Invalid(format!("{number} is no share in percent; they go from 0 to 100")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_program_and_words() {
        let command =
            |words: &[&str]| Command::try_from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let found = command(&["/bin/true", "-x", ""]).unwrap();
        assert_eq!((found.program(), found.arguments().len(), found.words().len()), ("/bin/true", 2, 3));
        for words in [&[][..], &["true"], &[""], &["/bin/true", "a\0b"], &["/x", &"y".repeat(4096)], &["/x"; 65]] {
            assert!(command(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn shares_and_times_have_limits() {
        assert_eq!([-1, 0, 100, 101].map(|share| PanicThreshold::try_from(share).is_ok()), [false, true, true, false]);
        let hour = Duration::from_secs(3600);
        assert!(SlowStart::try_from(hour).is_ok() && SlowStart::try_from(hour + Duration::from_nanos(1)).is_err());
        assert_eq!("remove".parse(), Ok(OnFailure::Remove));
        assert!("Remove".parse::<OnFailure>().is_err());
    }
}
