// SPDX-License-Identifier: Apache-2.0
//! Load-balancers of the configuration file: an edit is in the kernel, whole, or nothing is; killed in the middle, the next start makes
//! the kernel what the file says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, net::SocketAddr, path::PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use slb_lab::{http, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// Of two load-balancers, one on a VIP of its choice.
const FILE: &str = r#"
[[loadbalancer]]
name = "web"
port = 80

[[loadbalancer.backend]]
ip = "192.168.0.11"
port = 80

[[loadbalancer.backend]]
ip = "192.168.0.12"
port = 80
weight = 2

[[loadbalancer]]
name = "dns"
eip = "192.168.0.88"
port = 53
protocol = "udp"
"#;
/// The same after an edit.
const EDITED: &str = r#"
[[loadbalancer]]
name = "web"
port = 80
scheduler = "wlc"

[[loadbalancer.backend]]
ip = "192.168.0.12"
port = 80

[[loadbalancer]]
name = "ssh"
ports = ["22", "2222"]
"#;

fn path(site: &Site) -> PathBuf {
    PathBuf::from(format!("/run/{}.toml", site.lb.name()))
}

/// As editors do: written anew, and moved there.
fn edit(site: &Site, text: &str) {
    let (path, new) = (path(site), path(site).with_extension("new"));
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn kernel(site: &Site) -> Vec<String> {
    let mut lines: Vec<String> = site.lb.sh("ipvsadm -Sn").lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort_unstable();
    lines
}

fn becomes(site: &Site, what: &str, expected: &[&str]) {
    let mut sorted = expected.to_vec();
    sorted.sort_unstable();
    wait::until(what, || (kernel(site) == sorted).then_some(()));
}

const PROGRAMMED: [&str; 4] = [
    "-A -t 192.168.0.85:80 -s rr",
    "-a -t 192.168.0.85:80 -r 192.168.0.11:80 -m -w 1",
    "-a -t 192.168.0.85:80 -r 192.168.0.12:80 -m -w 2",
    "-A -u 192.168.0.88:53 -s rr",
];

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|each| each["name"] == name).unwrap()
}

fn an_edit_is_in_the_kernel() {
    let site = Site::new(SLB);
    let file = path(&site);
    edit(&site, FILE);
    let mut server = site.start(&["--config", file.to_str().unwrap()]);
    becomes(&site, "the file to be carried out", &PROGRAMMED);
    let before = server.list();
    let web = named(&before, "web").clone();
    assert_eq!(web["origin"], "file");
    let place = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
    let refused = server.ask("DELETE", &place, "");
    assert_eq!((refused.status, &refused.json()["type"]), (409, &json!("/problems/of-file")), "{}", refused.body);
    let own = server.create(r#"{"name":"own","port":8080}"#);

    edit(&site, &FILE.replacen("port = 53", "prot = 53", 1));
    let said = format!("{}:15: loadbalancer/1/port: is missing; line 18: loadbalancer/1/prot: ", file.display());
    server.process().line("what is wrong", |line| line.contains(&said));
    let report = wait::until("the report", || {
        let report = server.ask("GET", "/file", "").json();
        (!report["problem"].is_null()).then_some(report)
    });
    assert_eq!((&report["problem"]["line"], report["applied"].is_string()), (&json!(15), true), "{report}");
    let listed = server.list();
    assert_eq!(listed.as_array().unwrap()[..2], before.as_array().unwrap()[..], "nothing has changed");

    // Its last one cannot be had: none of the edit is carried out.
    edit(&site, &format!("{EDITED}eip = \"192.168.0.200\"\n"));
    let said = format!("{}:11: loadbalancer/1: 192.168.0.200 is not in", file.display());
    server.process().line("what cannot be had", |line| line.contains(&said));
    becomes(&site, "nothing else", &[&PROGRAMMED[..], &[own_service(&own).as_str()]].concat());

    edit(&site, EDITED);
    wait::until("the edit to be carried out", || {
        server.ask("GET", "/file", "").json()["problem"].is_null().then_some(())
    });
    let services = kernel(&site).join("\n");
    assert!(services.contains("-A -t 192.168.0.85:80 -s wlc"), "{services}");
    assert!(!services.contains("192.168.0.11:80") && !services.contains(":53"), "{services}");
    assert!(services.contains("-A -f ") && services.contains(&own_service(&own)), "{services}");
    let listed = server.list();
    assert_eq!(named(&listed, "web")["uuid"], web["uuid"], "it is the same one");
    assert_eq!(named(&listed, "web")["backends"][0]["uuid"], web["backends"][1]["uuid"]);
    assert_eq!(listed.as_array().unwrap().len(), 3);

    // Killed before, while or after the edit is carried out.
    edit(&site, FILE);
    server.kill();
    let mut server = site.start(&["--config", file.to_str().unwrap()]);
    becomes(&site, "what the file says", &[&PROGRAMMED[..], &[own_service(&own).as_str()]].concat());
    server.process().signal(Signal::HUP);
    server.process().line("that it is read", |line| line.contains("asked to read the file"));
    server.stop();
    becomes(&site, "the data plane to stay", &[&PROGRAMMED[..], &[own_service(&own).as_str()]].concat());

    edit(&site, &FILE.replacen("port = 53", "port = 530000", 1));
    let options = site.options();
    let words: Vec<&str> = options.iter().map(String::as_str).collect();
    let refused = site.lb.output(SLB, &[&["server", "--config", file.to_str().unwrap()], &words[..]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains(&format!("{}:18: loadbalancer/1/port: 530000 is not a port", file.display())), "{said}");

    // Without a file, they are like all others.
    let server = site.start(&[]);
    let web = named(&server.list(), "web").clone();
    server.delete(&web);
    server.stop();
}

fn own_service(own: &Value) -> String {
    format!("-A -t {}:8080 -s rr", own["eip"].as_str().unwrap())
}

/// Somebody else has a place in it: nothing is done, and all of it once the place is free.
fn what_cannot_be_had_now_is_tried_again() {
    let site = Site::new(SLB);
    let file = path(&site);
    edit(&site, "# Nothing yet.\n");
    let mut server = site.start(&["--config", file.to_str().unwrap()]);
    let own = server.create(r#"{"eip":"192.168.0.88","port":53,"protocol":"udp"}"#);
    edit(&site, FILE);
    let said = format!("{}:15: loadbalancer/1: 192.168.0.88:53/udp is taken by load-balancer", file.display());
    server.process().line("who has it", |line| line.contains(&said));
    assert_eq!(kernel(&site), ["-A -u 192.168.0.88:53 -s rr"]);
    server.delete(&own);
    becomes(&site, "the file to be carried out", &PROGRAMMED);
    wait::until("the report", || server.ask("GET", "/file", "").json()["problem"].is_null().then_some(()));
    server.stop();
}

/// Its documentation's file, with addresses of a network: connections go to one backend after the other.
fn mini_balancers_file_is_all_that_is_needed() {
    let site = Site::new(SLB);
    let [_one, _two] = site.web_on(8080);
    let file = path(&site);
    edit(
        &site,
        "[frontend]\nbind_on = \"192.168.0.88:7070\"\n\n[[frontend.backend]]\nforward_to = \"192.168.0.11:8080\"\n\n\
         [[frontend.backend]]\nforward_to = \"192.168.0.12:8080\"\n",
    );
    let state_dir = site.state_dir();
    let words = ["--arp", "--adapter", "eth0", "--config", file.to_str().unwrap(), "--stateDir", &state_dir];
    let server = slb_lab::Server::start(&site.lb, SLB, &words);
    wait::until("the frontend", || {
        server.list().get(0).filter(|one| one["observed"]["advertised"]["is"] == true).cloned()
    });
    let at: SocketAddr = "192.168.0.88:7070".parse().unwrap();
    let answers: Vec<String> = (0..3).map(|_| http::get(&site.client, at).unwrap()).collect();
    assert_ne!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2], "the third goes where the first went");
    server.stop();
}

slb_lab::main! {
    fast: [an_edit_is_in_the_kernel, what_cannot_be_had_now_is_tried_again],
    fast, user: [mini_balancers_file_is_all_that_is_needed],
}
