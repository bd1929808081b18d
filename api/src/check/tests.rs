// SPDX-License-Identifier: Apache-2.0
//! What is shown can be read back, it is as `openapi.yaml` says, and what is wrong is named.

use std::{net::IpAddr, sync::LazyLock, time::Duration};

use jsonschema::Validator;
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};
use slb_core::model::Port;

use super::{view::HealthCheckView, *};
use crate::{extract::parse, fields::Findings, health::OPENAPI, reply::to_json};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let Value::Object(mut root) = serde_saphyr::from_str(OPENAPI).unwrap() else { panic!("it is no object") };
    root.insert("$ref".to_owned(), json!("#/components/schemas/HealthCheck"));
    jsonschema::options().should_validate_formats(true).build(&Value::Object(root)).unwrap()
});

fn payload() -> impl Strategy<Value = Payload> {
    vec(any::<u8>(), 0..40).prop_map(|bytes| Payload::try_from(bytes).unwrap())
}

fn name() -> impl Strategy<Value = DnsName> {
    r"[a-z_][a-z0-9-]{0,9}(\.[a-z][a-z0-9-]{0,9}){0,3}".prop_map(|name| name.parse().unwrap())
}

fn tls() -> impl Strategy<Value = Tls> {
    (option::of(name()), any::<bool>()).prop_map(|(name, verify)| Tls { name, verify })
}

fn http() -> impl Strategy<Value = HttpQuestion> {
    let method = prop::sample::select(vec![Method::Get, Method::Head, Method::Options, Method::Post]);
    let header = ("X-[a-z]{1,9}", "[ -~]{0,20}").prop_map(|(name, value)| Header::new(name, value).unwrap());
    let headers = vec(header, 0..4).prop_map(|mut headers| {
        headers.sort();
        headers.dedup_by(|a, b| a.name() == b.name());
        headers
    });
    let status = r"[1-5][0-9]{2}(,2[0-9]{2}-[3-5][0-9]{2}){0,3}".prop_map(|text| text.parse().unwrap());
    let path = "/[!-\"$-~]{0,20}".prop_map(|path| path.try_into().unwrap());
    let host = option::of("[a-z.]{1,20}(:[0-9]{1,5})?".prop_map(|host| host.try_into().unwrap()));
    (method, path, host, headers, status, option::of(payload()), option::of(tls())).prop_map(
        |(method, path, host, headers, expect_status, expect_body, tls)| HttpQuestion {
            method,
            path,
            host,
            headers,
            expect_status,
            expect_body,
            tls,
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    let udp = (payload(), option::of(payload())).prop_map(|(payload, expect)| UdpQuestion { payload, expect });
    let text = option::of("[^\\pC]{1,30}".prop_map(|text| text.try_into().unwrap()));
    let dns = (name(), prop::sample::select(RecordType::ALL.to_vec()), text)
        .prop_map(|(name, record_type, expect)| DnsQuestion { name, record_type, expect });
    let grpc = ("[a-zA-Z.]{0,30}", option::of(tls()))
        .prop_map(|(service, tls)| GrpcQuestion { service: service.try_into().unwrap(), tls });
    let exec = vec("[^\\pC]{0,9}", 0..4).prop_map(|words| {
        let words = [vec!["/bin/true".to_owned()], words].concat();
        Command::try_from(words).unwrap()
    });
    prop_oneof![
        Just(Question::Tcp),
        Just(Question::Icmp),
        http().prop_map(|question| Question::Http(Box::new(question))),
        udp.prop_map(Question::Udp),
        dns.prop_map(Question::Dns),
        grpc.prop_map(Question::Grpc),
        exec.prop_map(Question::Exec),
    ]
}

fn timing() -> impl Strategy<Value = Timing> {
    (10_u64..3_600_000, 1_u64..100, 1_u64..100, 0_u64..50, 1_i64..=100, 1_i64..=100).prop_map(
        |(interval, timeout, fast, jitter, rise, fall)| {
            let share = |percent| Duration::from_micros(interval * 10 * percent);
            let timing = Timing::every(Duration::from_millis(interval)).unwrap();
            let timing = timing.with_timeout(share(timeout).max(Duration::from_millis(1))).unwrap();
            let timing = timing.with_fast_interval(share(fast).max(Duration::from_millis(1))).unwrap();
            let timing = timing.with_jitter(share(jitter)).unwrap();
            let [rise, fall] = [rise, fall].map(|times| Times::try_from(times).unwrap());
            let mut timing = timing;
            (timing.rise, timing.fall) = (rise, fall);
            timing
        },
    )
}

fn check() -> impl Strategy<Value = HealthCheck> {
    let port = option::of((1_i64..=65535).prop_map(|port| Port::try_from(port).unwrap()));
    let source = option::of(any::<[u8; 3]>().prop_map(|[b, c, d]| IpAddr::from([10, b, c, d]).try_into().unwrap()));
    let on_failure = option::of(prop_oneof![Just(OnFailure::Weight0), Just(OnFailure::Remove)]);
    let asked = (question(), any::<bool>()).prop_map(|(question, asks_for_vip)| {
        let may_ask = !matches!(question, Question::Icmp | Question::Exec(_));
        (question, if asks_for_vip && may_ask { Address::Vip } else { Address::Backend })
    });
    (asked, timing(), port, source, on_failure, 0_u64..3_600_000, 0_i64..=100).prop_map(
        |((question, address), timing, port, source, on_failure, slow_start, panic)| HealthCheck {
            check: Arc::new(Check { question, timing, address, port, source }),
            reaction: Reaction {
                on_failure,
                slow_start: Duration::from_millis(slow_start).try_into().unwrap(),
                panic_threshold: panic.try_into().unwrap(),
            },
        },
    )
}

proptest! {
    #[test]
    fn a_check_that_is_shown_can_be_sent_back(is in check()) {
        let shown = to_json(&HealthCheckView::from(&is));
        let value: Value = serde_json::from_slice(&shown).unwrap();
        prop_assert!(SCHEMA.is_valid(&value), "{value}: {:?}", SCHEMA.iter_errors(&value).next());
        let read: HealthCheck = parse(&shown).unwrap();
        prop_assert_eq!(read, is);
    }
}

fn wrong(body: Value) -> Vec<String> {
    let mut findings = Findings::default();
    let node = Node::parse(body.to_string().as_bytes()).unwrap();
    Fields::of(node, "#".to_owned(), &mut findings).and_then(HealthCheck::from_fields);
    findings.into_parts().0.iter().map(|finding| format!("{}: {}", finding.pointer, finding.detail)).collect()
}

#[test]
fn the_example_is_understood() {
    let body = json!({
        "type": "http", "path": "/", "expectStatus": "200-399", "interval": "1s", "timeout": "500ms", "rise": 2, "fall": 2,
    });
    assert!(SCHEMA.is_valid(&body));
    let check: HealthCheck = parse(body.to_string().as_bytes()).unwrap();
    let mut timing = Timing::default().with_timeout(Duration::from_millis(500)).unwrap();
    timing.fall = timing.rise;
    assert_eq!((check.check.timing, check.reaction), (timing, Reaction::default()));
    assert_eq!(check.check.question, Question::Http(Box::default()));
}

#[test]
fn what_is_wrong_is_named() {
    for (body, expected) in [
        (json!({}), "#/type: is missing"),
        (json!({"type": "smtp"}), "#/type: \"smtp\" is no type of check; there are tcp, http"),
        (json!({"type": "tcp", "path": "/"}), "#/path: there is no such field"),
        (json!({"type": "http", "pth": "/"}), "#/pth: there is no such field; did you mean \"path\"?"),
        (json!({"type": "http", "sni": "x"}), "#/sni: there is no such field"),
        (json!({"type": "http", "path": "health"}), "#/path: \"health\" is no path; it begins with a slash"),
        (json!({"type": "http", "expectStatus": "2xx"}), "#/expectStatus: \"2xx\" are no codes of status"),
        (json!({"type": "http", "expectStatus": 200}), "#/expectStatus: must be a string in \"\", not a number"),
        (json!({"type": "http", "headers": {"A b": "c"}}), "#/headers: \"A b\" is no name of a header"),
        (json!({"type": "http", "headers": {"A": 1}}), "#/headers: \"A\" must be a string"),
        (json!({"type": "https", "verify": "yes"}), "#/verify: must be true or false"),
        (json!({"type": "tcp", "address": "eip"}), "#/address: \"eip\" is no address to ask; there are \"backend\""),
        (json!({"type": "icmp", "address": "vip"}), "#/address: is for checks that connect to a port, or send to one"),
        (json!({"type": "tcp", "interval": "1"}), "#/interval: \"1\": time unit needed"),
        (json!({"type": "tcp", "interval": "1ms"}), "#/interval: an interval between checks is 10 ms to an hour"),
        (
            json!({"type": "tcp", "timeout": "2s"}),
            "#/timeout: a timeout is 1 ms at least, and the interval at most, which is 1s",
        ),
        (json!({"type": "tcp", "jitter": "600ms"}), "#/jitter: jitter is at most half of the interval"),
        (json!({"type": "tcp", "rise": 0}), "#/rise: 0 is no number of answers"),
        (json!({"type": "tcp", "source": "224.0.0.1"}), "#/source: 224.0.0.1 is not the address of a single host"),
        (json!({"type": "tcp", "panicThreshold": 101}), "#/panicThreshold: 101 is no share in percent"),
        (json!({"type": "tcp", "onFailure": "kill"}), "#/onFailure: \"kill\" is no way"),
        (json!({"type": "tcp", "slowStart": "2h"}), "#/slowStart: a slow start takes up to an hour"),
        (json!({"type": "dns"}), "#/name: is missing"),
        (json!({"type": "dns", "name": "a b"}), "#/name: \"a b\" is no domain name"),
        (json!({"type": "udp", "payload": "\\q"}), "#/payload: a backslash is followed by"),
        (json!({"type": "exec", "command": ["true"]}), "#/command: \"true\" is no absolute path"),
        (json!({"type": "exec", "command": "/bin/true"}), "#/command: must be an array in []"),
    ] {
        let said = wrong(body.clone());
        assert!(said.iter().any(|error| error.starts_with(expected)), "{body}: {expected}: {said:?}");
    }
}

#[test]
fn no_check_is_told_from_none_said() {
    let read = |body: &str| {
        struct Found(Option<Option<HealthCheck>>);
        impl FromFields for Found {
            fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
                let found = health_check(&mut fields);
                fields.finish();
                Some(Self(found))
            }
        }
        parse::<Found>(body.as_bytes()).map(|found| found.0.map(|check| check.is_some()))
    };
    assert_eq!(read("{}").unwrap(), None);
    assert_eq!(read(r#"{"healthCheck":null}"#).unwrap(), Some(false));
    assert_eq!(read(r#"{"healthCheck":{"type":"tcp"}}"#).unwrap(), Some(true));
    assert!(read(r#"{"healthCheck":"tcp"}"#).is_err() && read(r#"{"healthCheck":{"type":"tcp","rise":0}}"#).is_err());
}
