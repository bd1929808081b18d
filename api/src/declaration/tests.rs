// SPDX-License-Identifier: Apache-2.0
//! Files that are read, and what is said of those that are not.

use serde::Deserialize;

use super::*;

fn read(text: &str) -> Result<Vec<Declared>, Vec<(String, String)>> {
    let Ok(Ok(node)) = toml::Deserializer::parse(text).map(Node::deserialize) else { panic!("{text}") };
    let read = load_balancers(node, false);
    read.map_err(|faults| faults.into_iter().map(|Fault { at, why }| (at, why)).collect())
}

fn places(declared: &[Declared]) -> Vec<(String, String)> {
    let targets = |each: &NewLoadBalancer| -> Vec<String> { each.targets().map(|target| target.to_string()).collect() };
    declared.iter().map(|each| (each.at.clone(), targets(&each.load_balancer).join(" "))).collect()
}

/// The example of mini-balancer's documentation, as it stands.
#[test]
fn mini_balancers_file_is_read() {
    let declared = read(include_str!("../../../tests/seeds/mini-balancer.toml")).unwrap();
    assert_eq!(places(&declared), [("frontend".to_owned(), "127.0.0.1:8080 127.0.0.1:9090".to_owned())]);
    let frontend = &declared[0].load_balancer;
    assert_eq!(frontend.vips.named(), Some("127.0.0.1".parse::<Vip>().unwrap().into()));
    assert_eq!((frontend.listen.lowest().get(), frontend.protocol), (7070, Protocol::Tcp));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let one = "[[loadbalancer]]\nname = \"web\"\nport = 80\n";
    for (file, at, why) in [
        ("[[loadbalancer]]\nname = \"web\"\nprot = 80".to_owned(), "loadbalancer/0/port", "is missing"),
        ("[[loadbalancer]]\nname = \"web\"\nprot = 80".to_owned(), "loadbalancer/0/prot", "did you mean \"port\"?"),
        (one.replace("80", "\"80\""), "loadbalancer/0/port", "write 80 without the quotes"),
        (one.replace("80", "70000"), "loadbalancer/0/port", "70000 is not a port"),
        (one.replace("80", "1979-05-27"), "loadbalancer/0/port", "must be a number"),
        (format!("{one}backends = []"), "loadbalancer/0/backends", "did you mean \"backend\"?"),
        (format!("{one}uuid = \"x\""), "loadbalancer/0/uuid", "is chosen by the server"),
        (
            format!("{one}healthCheck = {{ type = \"exec\", command = [\"/bin/true\"] }}"),
            "loadbalancer/0/healthCheck",
            "--allowExecChecks",
        ),
        (format!("{one}[[loadbalancer.backend]]\nport = 1"), "loadbalancer/0/backend/0/ip", "is missing"),
        (
            format!("{one}[[loadbalancer.backend]]\nip = \"10.0.0.1\"\n[[loadbalancer.backend]]\nip = \"10.0.0.1\""),
            "loadbalancer/0/backend/1",
            "10.0.0.1 is there already",
        ),
        (
            format!("{one}[[loadbalancer.backend]]\nip = \"10.0.0.1\"\nlowerThreshold = 3\nupperThreshold = 2"),
            "loadbalancer/0/backend/0/lowerThreshold",
            "10.0.0.1",
        ),
        (format!("{one}{one}"), "loadbalancer/1/name", "\"web\" is the name of another one"),
        ("[[loadbalancer]]\nport = 80".to_owned(), "loadbalancer/0/name", "needs an eip"),
        (
            "[[loadbalancer]]\neip = \"192.0.2.1\"\nport = 80\n[frontend]\nbind_on = \"192.0.2.1:80\"".to_owned(),
            "frontend",
            "192.0.2.1:80 is that of loadbalancer/0 already",
        ),
        ("[frontend]\nbind_on = \"3000\"".to_owned(), "frontend/bind_on", "write it like \"127.0.0.1:3000\""),
        ("[frontend]\nbind_on = \"0.0.0.0:80\"".to_owned(), "frontend/bind_on", "not a host's"),
        ("[frontend]".to_owned(), "frontend/bind_on", "is missing"),
        ("[frontend]\nbind_on = \"10.0.0.1:0\"".to_owned(), "frontend/bind_on", "0 is not a port"),
        ("loadbalancer = 3".to_owned(), "loadbalancer", "must be an array"),
    ] {
        let faults = read(&file).unwrap_err();
        let found = faults.iter().any(|(place, said)| place == at && said.contains(why));
        assert!(found, "{file}\n{at}: {why}\n{faults:?}");
    }
}
