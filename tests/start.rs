// SPDX-License-Identifier: Apache-2.0
//! Everything that can be wrong is said at the start, in one line each, before anything was changed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::Signal;
use slb_lab::Server;

use slb_lab::site::{RANGE, Site};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn what_is_wrong_is_said_and_changes_nothing() {
    let site = Site::new(SLB);
    site.lb.sh("ip link add eth7 type dummy");
    let before = site.lb.kernel_state();
    let options = |change: &[(&str, &str)]| -> Vec<String> {
        let swap =
            |word: &String| change.iter().find(|(from, _)| from == word).map_or(word.as_str(), |(_, to)| to).to_owned();
        [vec!["server".to_owned()], site.options().iter().map(swap).collect()].concat()
    };
    let range = RANGE;
    for (options, expected) in [
        (options(&[("eth0", "eth9")]), "eth0, eth7"),
        (options(&[("eth0", "lo")]), "no ARP"),
        (options(&[(range, "192.168.0.90-192.168.0.85")]), "192.168.0.90-192.168.0.85"),
        (options(&[("--arp", "--arp=false")]), "--arp"),
        ([options(&[]), vec!["--bgp".to_owned()]].concat(), "exclude each other"),
        ([options(&[]), vec!["--port".to_owned(), "0".to_owned()]].concat(), "--port"),
    ] {
        let words: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = site.lb.output(SLB, &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{words:?}: {said}");
        assert_eq!(site.lb.kernel_state(), before);
        assert!(!std::path::Path::new(&site.state_dir()).exists(), "{words:?} made the state directory");
    }
}

fn missing_privileges_are_named() {
    let site = Site::new(SLB);
    let words = [&[SLB, "server", "--dataplane", "ipvs"].map(str::to_owned)[..], &site.options()].concat();
    let capsh = format!("setpriv --bounding-set -net_admin,-net_raw --inh-caps -all {}", words.join(" "));
    let output = site.lb.output("sh", &["-c", &capsh]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("CAP_NET_ADMIN") && said.contains("CAP_NET_RAW"), "{said}");
}

/// Who is in IPVS would not be reached by what is relayed beside it. After a cleanup nobody is.
fn lost_privileges_take_nobody_out_of_ipvs() {
    let site = Site::new(SLB);
    let _backends = site.web();
    let server = site.start(&[]);
    let created = site.balanced(&server);
    server.stop();
    let before = site.lb.kernel_state();
    let words = [&[SLB, "server"].map(str::to_owned)[..], &site.options()].concat();
    let unprivileged = format!("exec setpriv --bounding-set -net_admin,-net_raw --inh-caps -all {}", words.join(" "));
    let output = site.lb.output("sh", &["-c", &unprivileged]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("CAP_NET_ADMIN") && said.contains("slb cleanup"), "{said}");
    assert_eq!(site.lb.kernel_state(), before);
    assert!(site.get(&created).is_ok());

    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    site.lb.sh("ip addr add 192.168.0.85/24 dev eth0");
    let mut server = site.lb.spawn("sh", &["-c", &unprivileged]);
    server.line("that it is ready", |line| line.contains("] ready"));
    assert!(server.said().iter().any(|line| line.contains("relayed in user space")), "{:?}", server.said());
    assert!(site.get(&created).is_ok());
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

/// Capabilities are enough, but not for iptables. There is IPVS, and so nobody is relayed instead.
fn iptables_is_for_root_alone() {
    let site = Site::new(SLB);
    site.lb.sh("iptables-legacy -t nat -L -n");
    let words = [&[SLB, "server"].map(str::to_owned)[..], &site.options()].concat();
    let able = "+net_admin,+net_raw";
    let nobody = format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps {able} --ambient-caps {able} timeout 10 {}",
        words.join(" ")
    );
    let output = site.lb.output("sh", &["-c", &nobody]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("root alone") && said.contains("nothing was changed"), "{said}");
    assert!(said.contains("--dataplane user"), "{said}");
}

fn a_second_server_is_refused() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let own = site.state_dir();
    let refused = |state_dir: &str, more: &[&str], expected: &str| {
        let options = site.options();
        let options = options.iter().map(|word| if *word == own { state_dir } else { word.as_str() });
        let words: Vec<&str> = ["server"].into_iter().chain(options).chain(more.iter().copied()).collect();
        let output = site.lb.output(SLB, &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    };
    refused(&own, &[], "0.0.0.0:10001");
    refused(&own, &["--port", "10002"], "another slb server");
    refused("/run/another", &["--port", "10002"], "another slb server");
    assert_eq!(server.ask("GET", "/healthz", "").status, 200);
}

/// The environment and the file say the same as flags.
fn options_come_from_three_places() {
    let site = Site::new(SLB);
    let file = format!("{}.toml", site.state_dir());
    std::fs::write(
        &file,
        format!("arp = true\nadapter = \"eth9\"\nipamRange = \"192.168.0.88\"\nstateDir = \"{}\"\n", site.state_dir()),
    )
    .unwrap();
    let server = Server::start(&site.lb, SLB, &["--config", &file, "--adapter", "eth0"]);
    assert_eq!(server.create(r#"{"name":"x","port":80}"#)["eip"], "192.168.0.88");
    let exhausted = server.ask("POST", "/loadbalancer", r#"{"name":"y","port":80}"#);
    assert_eq!(exhausted.status, 503, "{}", exhausted.body);
}

/// Neighbours do not ask by ARP for what is not in their network.
fn addresses_that_nobody_asks_for_are_named() {
    for (range, expected) in [("192.168.0.85-192.168.0.90", None), ("192.168.0.254-192.168.1.5", Some("192.168.1.0 "))]
    {
        let site = Site::new(SLB);
        let words = ["--arp", "--adapter", "eth0", "--ipamRange", range, "--stateDir", &site.state_dir()];
        let mut server = Server::start(&site.lb, SLB, &words);
        let said = server.process().said().join("\n");
        assert_eq!(said.contains("is in no network of eth0"), expected.is_some(), "{said}");
        assert!(expected.is_none_or(|address| said.contains(address)), "{said}");
    }
}

slb_lab::main! {
    fast, user: [
        what_is_wrong_is_said_and_changes_nothing,
        a_second_server_is_refused,
        options_come_from_three_places,
        addresses_that_nobody_asks_for_are_named,
    ],
    fast: [
        missing_privileges_are_named,
        lost_privileges_take_nobody_out_of_ipvs,
        iptables_is_for_root_alone,
    ],
}
