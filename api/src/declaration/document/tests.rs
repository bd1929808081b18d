// SPDX-License-Identifier: Apache-2.0
//! Whatever a file has in it, it is read or refused, with the line of what is wrong.

use proptest::prelude::*;

use super::*;

/// All that there is to say.
const WHOLE: &str = r#"adapter = "eth0"

[frontend]
bind_on = "127.0.0.1:7070"

[[frontend.backend]]
forward_to = "127.0.0.1:8080"

[[loadbalancer]]
name = "web"
ports = ["80", 443]
family = "dual"
scheduler = "sh"
persistence = { timeout = "5m" }
healthCheck = { type = "http", path = "/up", interval = "2s" }
fallback = { ip = "10.0.0.99" }

[[loadbalancer.backend]]
ip = "10.0.0.11"
weight = 3

[[loadbalancer.backend]]
ip = "10.0.0.12"
[loadbalancer.backend.healthCheck]
type = "tcp"
port = 22

[[loadbalancer]]
name = "dns"
eip = "192.0.2.53"
port = 53
protocol = "udp"
"#;

/// What is likely to be wrong in its place.
const PIECES: &str = "[\\[\\]{}=,.\"'#\n\\\\]{1,3}|-?[0-9]{1,45}|[0-9]{1,20}e[0-9]{1,4}|inf|-nan|1979-05-27|true|\"\"|\
                      \\[\\[loadbalancer\\]\\]\n|\\[frontend\\]\n|[a-zA-Z]{1,6} = |[\\PC]{1,3}|\\\\u[0-9a-fA-F]{4}";

/// As what is right, with pieces of it gone or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0_usize..30, prop::option::of(PIECES));
    prop::collection::vec(edit, 1..4).prop_map(|edits| {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for (at, length, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = text.len().min(at + length);
            text.splice(at..end, piece.unwrap_or_default().chars());
        }
        text.into_iter().collect()
    })
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let mistakes = match Document::parse(text) {
        Err(mistake) => vec![mistake],
        Ok(document) => {
            let options = document.options::<std::collections::BTreeMap<String, String>>();
            prop_assert!(options.is_ok() || options.is_err_and(|mistake| mistake.line.is_some()));
            [false, true].into_iter().flat_map(|may| document.load_balancers(may).err().unwrap_or_default()).collect()
        }
    };
    for (index, Mistake { line, why }) in mistakes.iter().enumerate() {
        let is_there = line.map(|line| (1..=text.matches('\n').count() + 1).contains(&line));
        let is_rest = index > 0 && why.ends_with(" more");
        prop_assert!(is_there == Some(true) || is_rest && is_there.is_none(), "{line:?}: {why}\n{text}");
        prop_assert!(!why.is_empty() && !why.contains('\n'), "{why:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_line(text in "\\PC*|[\\[\\]a-f0-9=\"'.\n #{},-]{0,60}") {
        check(&text)?;
    }

    #[test]
    fn a_file_with_slips_is_read_or_refused_with_a_line(text in mutated()) {
        check(&text)?;
    }
}

/// Everything that a body has can be said.
#[test]
fn the_whole_is_read() {
    let read = Document::parse(WHOLE).unwrap().load_balancers(false).unwrap();
    let targets = |each: &Declared| each.load_balancer.targets().map(|target| target.to_string()).collect::<Vec<_>>();
    let places: Vec<_> = read.iter().map(|each| (each.at.as_str(), targets(each).join(" "))).collect();
    let expected =
        [("loadbalancer/0", "10.0.0.11 10.0.0.12 10.0.0.99"), ("loadbalancer/1", ""), ("frontend", "127.0.0.1:8080")];
    assert_eq!(places, expected.map(|(at, targets)| (at, targets.to_owned())));
    assert!(read[0].load_balancer.check.is_some() && read[0].load_balancer.service.persistence.is_some());
}

#[test]
fn slips_in_names_have_a_line() {
    for (name, expected) in [
        ("loadbalancers", "did you mean \"loadbalancer\"?"),
        ("LoadBalancer", "did you mean \"loadbalancer\"?"),
        ("frontends", "did you mean \"frontend\"?"),
        ("\"löadbalancer\"", "did you mean \"loadbalancer\"?"),
    ] {
        let text = format!("adapter = \"lo\"\n\n[[{name}]]\nport = 80\n");
        let mistakes = Document::parse(&text).unwrap().load_balancers(false).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, Some(3)), "{mistakes:?}");
        assert!(mistakes[0].why.contains(expected), "{mistakes:?}");
    }
    let text = WHOLE.replace("weight = 3", "\"wei/ght~ 3\" = 3");
    let line = WHOLE.lines().position(|line| line == "weight = 3").map(|before| before + 1);
    assert_eq!(Document::parse(&text).unwrap().load_balancers(false).unwrap_err()[0].line, line);
}

#[test]
fn numbers_that_are_too_large_have_a_line() {
    for (number, expected) in [
        ("9223372036854775808", "is too large"),
        ("-9223372036854775809", "is too large"),
        ("18446744073709551616", "is too large"),
        ("1000000000000000000000000000000000000000000", "integer number overflowed"),
        ("1e400", "floating-point number overflowed"),
        ("inf", "inf is not a whole number"),
    ] {
        let text = WHOLE.replace("port = 53", &format!("port = {number}"));
        let line = WHOLE.lines().position(|line| line == "port = 53").map(|before| before + 1);
        let mistakes = match Document::parse(&text) {
            Ok(document) => document.load_balancers(false).unwrap_err(),
            Err(mistake) => vec![mistake],
        };
        assert_eq!((mistakes.len(), mistakes[0].line), (1, line), "{number}: {mistakes:?}");
        assert!(mistakes[0].why.contains(expected), "{number}: {mistakes:?}");
    }
}
