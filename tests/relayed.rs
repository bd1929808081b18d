// SPDX-License-Identifier: Apache-2.0
//! In user space with privileges: VIPs are bound and announced as ever, and IPVS is left to others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::Signal;
use slb_lab::{Server, site::Site};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn neighbours_reach_what_is_relayed() {
    let site = Site::new(SLB);
    let _backends = site.web();
    let server = site.start(&["--dataplane", "user"]);
    assert!(server.ask("GET", "/", "").body.contains(r#""dataplane":"user""#));
    let created = site.balanced(&server);
    let [first, second, third] = [0; 3].map(|_| site.get(&created).unwrap());
    assert!(first != second && first == third, "{first} {second} {third}");
    assert!(site.lb.sh("ip -o addr show dev eth0").contains("192.168.0.85/32"));
    assert_eq!(site.lb.sh("ipvsadm -Sn"), "");
    server.delete(&created);
    assert!(!site.lb.sh("ip -o addr show dev eth0").contains("192.168.0.85/32"));
}

/// What IPVS still had would take packets away from who listens. What only IPVS can do waits for it.
fn there_and_back_again() {
    let site = Site::new(SLB);
    let _backends = site.web();
    let server = site.start(&[]);
    let created = site.balanced(&server);
    let _ = server.create(r#"{"name":"ports","ports":["8000-8010"]}"#);
    let _ = server.create(r#"{"name":"near","port":81,"sourceNat":"sameNetwork"}"#);
    assert!(site.get(&created).is_ok());
    let rules =
        || ["MASQUERADE", "MARK"].map(|target| site.lb.sh("iptables-legacy-save").contains(&format!("-j {target}")));
    assert_eq!(rules(), [true; 2]);
    server.stop();
    let server = site.start(&["--dataplane", "user"]);
    assert_eq!((site.lb.sh("ipvsadm -Sn").as_str(), rules()), ("", [false; 2]));
    assert!(site.get(&created).is_ok());
    let listed = server.list();
    let programmed = [0, 1, 2].map(|index| &listed[index]["observed"]["programmed"]);
    assert_eq!(programmed.map(|programmed| programmed["is"] == true), [true, false, false], "{listed}");
    for (programmed, why) in programmed[1..].iter().zip(["one port for each load-balancer", "sameNetwork needs IPVS"]) {
        assert!(programmed["why"].as_str().unwrap().contains(why), "{listed}");
    }
    server.stop();
    assert!(site.get(&created).is_err(), "what is relayed ends with slb");
    let _server = site.start(&["--dataplane", "ipvs"]);
    assert!(site.lb.sh("ipvsadm -Sn").contains("-A -t 192.168.0.85:"));
    assert!(site.get(&created).is_ok());
    assert_eq!(rules(), [true; 2]);
}

/// Where VIPs are not bound, as on the loopback adapter, IPVS would take their packets all the same.
fn ipvs_is_left_also_where_nothing_is_bound() {
    let site = Site::new(SLB);
    let _backends = site.web();
    let server = site.start(&[]);
    let created = site.balanced(&server);
    server.stop();
    assert!(site.lb.sh("ipvsadm -Sn").contains("-A -t 192.168.0.85:"));
    let state_dir = site.state_dir();
    let words = ["--adapter", "lo", "--ipamRange", "127.0.0.85", "--stateDir", &state_dir, "--dataplane", "user"];

    let unprivileged = ["--bounding-set", "-net_admin,-net_raw", "--inh-caps", "-all", SLB, "server"];
    let mut server = site.lb.spawn("setpriv", &[&unprivileged[..], &words[..]].concat());
    server.line("what to run", |line| line.contains("run `slb cleanup` as root"));
    server.line("that it is ready", |line| line.contains("] ready"));
    let wish = r#"{"name":"x","port":81,"backends":[{"ip":"127.0.0.1","port":80}]}"#;
    let plan = site.lb.sh(&format!("curl -s -d '{wish}' 'http://127.0.0.1:10001/loadbalancer?dryRun=true'"));
    assert!(plan.contains("127.0.0.85") && plan.contains("backend") && !plan.contains("bind"), "{plan}");
    assert!(!plan.contains("advertise"), "what is not done is not in a plan: {plan}");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert!(site.lb.sh("ipvsadm -Sn").contains("-A -t 192.168.0.85:"));

    let server = Server::start(&site.lb, SLB, &words);
    assert_eq!(site.lb.sh("ipvsadm -Sn"), "");
    assert!(!site.lb.sh("iptables-legacy-save").contains("-j MASQUERADE"));
    assert!(site.get(&created).is_ok());
    site.lb.sh("ipvsadm -A -t 127.0.0.85:81");
    let taken = server.ask("POST", "/loadbalancer", r#"{"name":"x","port":81,"eip":"127.0.0.85"}"#);
    assert_eq!(taken.status, 409, "{}", taken.body);
}

/// Neither nftables nor iptables, which relaying takes none of.
fn a_host_without_a_firewall_is_left_as_clean() {
    let site = Site::new(SLB);
    let before = site.lb.kernel_state();
    let server = site.start(&["--dataplane", "user"]);
    let _ = site.balanced(&server);
    server.stop();
    let hide = "for each in /usr/sbin/*tables*-save /usr/sbin/*tables*-restore; do mount --bind /dev/null $each; done";
    let clean = format!("{hide}; exec {SLB} cleanup --stateDir {}", site.state_dir());
    let output = site.lb.output("unshare", &["-m", "sh", "-c", &clean]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.lb.kernel_state(), before);
}

/// A node without IPVS beside one with it sends clients to the same backends.
fn who_hashes_chooses_as_the_kernel_does() {
    let site = Site::new(SLB);
    let _backends = site.web();
    site.client.sh("for n in $(seq 100 131); do ip addr add 192.168.0.$n/24 dev eth0; done");
    let ask = |vip: &str| {
        site.client.sh(&format!(
            "for n in $(seq 100 131); do curl -s -m 10 --interface 192.168.0.$n http://{vip}/; echo; done"
        ))
    };
    let ask_all = || ["192.168.0.85", "192.168.0.86"].map(ask);
    let server = site.start(&["--dataplane", "ipvs"]);
    for scheduler in ["sh", "mh"] {
        let _ = server.create(&format!(
            r#"{{"name":"{scheduler}","port":80,"scheduler":"{scheduler}","backends":[
                {{"ip":"192.168.0.11","port":80,"weight":3}},{{"ip":"192.168.0.12","port":80,"weight":2}}]}}"#
        ));
    }
    let by_ipvs = ask_all();
    assert!(by_ipvs.iter().all(|names| names.contains("one") && names.contains("two")), "{by_ipvs:?}");
    server.stop();
    let _server = site.start(&["--dataplane", "user"]);
    assert_eq!(ask_all(), by_ipvs);
}

slb_lab::main! { fast: [
    neighbours_reach_what_is_relayed,
    there_and_back_again,
    ipvs_is_left_also_where_nothing_is_bound,
    a_host_without_a_firewall_is_left_as_clean,
    who_hashes_chooses_as_the_kernel_does,
] }
