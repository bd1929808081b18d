// SPDX-License-Identifier: Apache-2.0
//! Layer 3 at Equinix Metal: the original's walk-through, against a provider that follows the published API and a pair of routers; and
//! that nothing is paid for and forgotten, whenever slb is killed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "sessions are described in full here")]
#[path = "../advert/tests/bgp/bird.rs"]
mod bird;
#[expect(dead_code, reason = "most faults are for the pool's own tests")]
#[path = "../ipam/tests/equinix/metal.rs"]
mod metal;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bird::Bird;
use metal::{Effect, Fault, Metal, TOKEN, Then};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::json;
use slb_lab::{Backend, Node, Segment, Server, http, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
/// What the original's documentation calls the machine.
const HOSTNAME: &str = "am6-c3.small.x86-01";
/// The routers' addresses, the same everywhere at Equinix Metal.
const PEERS: [&str; 2] = ["169.254.255.1", "169.254.255.2"];
/// The load-balancer's address for sessions with them.
const OWN: &str = "10.12.39.1";

const KILLS: u64 = 30;
const CLIENTS: u64 = 3;
/// The longest time between two kills.
const LONGEST_MS: u64 = 600;

/// A machine at Equinix Metal, with its two routers, and a client behind them.
struct Site {
    lb: Node,
    routers: [Node; 2],
    client: Node,
    backends: [Node; 2],
    metal: Metal,
    _api: Node,
    _segments: [Segment; 2],
}

impl Site {
    fn new() -> Self {
        let (inside, outside) = (Segment::new(), Segment::new());
        // Not with the first of its addresses, which the kernel would choose.
        let lb = inside.host("lb", "10.12.39.9/24");
        lb.sh(&format!("ip link set lo up && ip addr add {OWN}/24 dev eth0 && ip route add default via 10.12.39.101"));
        let routers = [101, 102].map(|last| {
            let router = inside.host("router", &format!("10.12.39.{last}/24"));
            outside.connect(&router, "eth1", &format!("10.1.0.{last}/24"));
            let peer = PEERS[last - 101];
            router.sh(&format!("sysctl -qw net.ipv4.ip_forward=1; ip addr add {peer}/32 dev lo"));
            lb.sh(&format!("ip route add {peer} via 10.12.39.{last}"));
            router
        });
        let client = outside.host("client", "10.1.0.10/24");
        client.sh("ip route add default via 10.1.0.102");
        let api = inside.host("api", "10.12.39.200/24");
        let metal = Metal::start(api.inside(|| TcpListener::bind(("10.12.39.200", 0)).unwrap()), Some(tls()));
        metal.with(|books| {
            books.neighbours = json!([{
                "address_family": 4, "customer_as": 65000, "customer_ip": OWN, "md5_enabled": true,
                "md5_password": "s3cret", "multihop": true, "peer_as": 65530, "peer_ips": PEERS,
            }]);
        });
        // The machine's own: this kernel is the test's.
        lb.run("hostname", &[HOSTNAME]);
        Self {
            backends: [inside.host("one", "10.12.39.11/24"), inside.host("two", "10.12.39.12/24")],
            lb,
            routers,
            client,
            metal,
            _api: api,
            _segments: [inside, outside],
        }
    }

    fn routers(&self) -> [Bird; 2] {
        [0, 1].map(|at| {
            let (router, peer) = (&self.routers[at], PEERS[at]);
            let session = format!("local {peer} as 65530; neighbor {OWN} as 65000; multihop 5; password \"s3cret\";");
            Bird::run(router, &session)
        })
    }

    /// The words of the original's documentation.
    fn words(&self) -> String {
        let project = self.metal.with(|books| books.project);
        format!("server --adapter lo --bgp --equinixMetal --project {project} --facility am6")
    }

    /// slb with its environment.
    fn slb(&self) -> String {
        let path = "/run/slb-at-metal".to_owned();
        let api = format!("METAL_API_URL=https://{}/metal/v1", self.metal.address());
        let script =
            format!("#!/bin/sh\nexport PACKET_AUTH_TOKEN={TOKEN} {api} SSL_CERT_FILE={AUTHORITY}\nexec {SLB} \"$@\"\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn have_route(&self, vip: &str) -> [bool; 2] {
        let start = format!("{vip} via {OWN} ");
        self.routers.each_ref().map(|router| router.sh("ip -4 route show").lines().any(|line| line.starts_with(&start)))
    }
}

/// Whom slb trusts.
const AUTHORITY: &str = "/run/metal.pem";

fn tls() -> Arc<ServerConfig> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["10.12.39.200".to_owned()]).unwrap();
    fs::write(AUTHORITY, cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap())
}

fn as_documented() {
    let site = Site::new();
    let [one, two] = &site.backends;
    let _web = [Backend::start(one, 6443, "one"), Backend::start(two, 6443, "two")];
    let before = site.lb.tables();
    let _routers = site.routers();
    let mut server = site.lb.spawn("sh", &["-c", &format!("exec {} {}", site.slb(), site.words())]);
    for words in [
        "Starting the Steel Load-Balancer".to_owned(),
        "API Server will be exposed on [0.0.0.0:10001]".to_owned(),
        "Enabled IPv4 Forwarding in the kernel".to_owned(),
        format!("Querying BGP settings for [{HOSTNAME}]"),
        format!("Add a peer configuration for:{}", PEERS[0]),
        format!("Add a peer configuration for:{}", PEERS[1]),
    ] {
        server.line(&words, |said| said.starts_with("INFO[00") && said.ends_with(&format!("] {words}")));
    }
    for peer in PEERS {
        server.line("a peer up", |said| said.contains(&format!("Peer Up Key={peer} State=BGP_FSM_ESTABLISHED")));
    }
    let post = "curl -sf -X POST http://127.0.0.1:10001/loadbalancer";
    site.lb.sh(&format!(
        r#"{post} -H 'Content-Type: application/json' -d '{{"name":"test loadbalancer", "port": 6443}}'"#
    ));
    let listed = site.lb.sh("curl -s http://127.0.0.1:10001/loadbalancers | jq -c '.[0] | [.name, .eip, .backends]'");
    assert_eq!(listed, "[\"test loadbalancer\",\"147.75.84.1\",null]\n");
    assert_eq!(site.metal.with(|books| books.addresses()), ["147.75.84.1"]);
    let uuid = site.lb.sh("curl -s http://127.0.0.1:10001/loadbalancers | jq -r '.[0].uuid'");
    let uuid = uuid.trim();
    for ip in ["10.12.39.11", "10.12.39.12"] {
        site.lb.sh(&format!(r#"{post}/{uuid}/backend -d '{{"ip":"{ip}", "port": 6443}}'"#));
    }
    assert!(site.lb.sh("ip -o -4 addr show dev lo").contains("147.75.84.1/32"));
    wait::until("the route in both routers", || (site.have_route("147.75.84.1") == [true; 2]).then_some(()));
    let at = SocketAddr::from(([147, 75, 84, 1], 6443));
    let mut answers: Vec<_> = (0..4).map(|_| http::get(&site.client, at).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "two", "two"]);

    // The provider is busy: nobody here waits for it, and it is the last to hear.
    let busy = Fault { done: Effect::None, then: Then::Answer(503, "Retry-After: 5", "") };
    site.metal.fail("DELETE", &[busy]);
    site.lb.sh(&format!("curl -sf -X DELETE http://127.0.0.1:10001/loadbalancer/{uuid}"));
    assert_eq!(site.lb.tables(), before);
    wait::until("no route", || (site.have_route("147.75.84.1") == [false; 2]).then_some(()));
    assert_eq!(site.metal.with(|books| books.addresses()), ["147.75.84.1"]);
    site.metal.until("the release", |books| books.addresses().is_empty());
    assert!(server.ended().is_none());
    let said = server.said().join("\n");
    assert!(!said.contains(TOKEN) && !said.contains("s3cret"), "{said}");
}

/// A provider takes its time: only those wait who want an address. Who does not wait for the end gets it all the same, once.
fn a_slow_provider_holds_up_nobody_else() {
    let site = Site::new();
    let words = site.words();
    let words: Vec<&str> = words.split(' ').skip(1).chain(["--stateDir", "/run/state-slow"]).collect();
    let exe = site.slb();
    let server = Server::start(&site.lb, &exe, &words);
    let first = server.create(r#"{"name":"first","port":80}"#);
    let busy = Fault { done: Effect::None, then: Then::Answer(503, "Retry-After: 5", "") };
    site.metal.fail("POST", &[busy]);
    let post = r#"curl -s -m 2 -X POST http://127.0.0.1:10001/loadbalancer -d '{"name":"slow","port":80}'"#;
    let mut waiting = site.lb.spawn("sh", &["-c", &format!("exec {post}")]);
    site.metal.until("the second request", |books| books.count("POST") == 2);
    let _ = server.add_backend(&first, r#"{"ip":"10.12.39.11","port":80}"#);
    server.delete(&first);
    assert_eq!(server.list(), json!([]));
    assert!(!waiting.wait().success());
    let slow = wait::until("what it asked for", || server.list()[0].as_object().cloned());
    assert_eq!(slow["name"], "slow");
    check_reserved(&site, &server);
}

/// BGP is a thing to enable at Equinix Metal: slb says so, goes on by itself, and can be stopped meanwhile.
fn bgp_may_be_enabled_later() {
    let site = Site::new();
    let neighbours = site.metal.with(|books| std::mem::replace(&mut books.neighbours, json!([])));
    let words = site.words();
    let words: Vec<&str> = words.split(' ').chain(["--stateDir", "/run/state-later"]).collect();
    let exe = site.slb();
    let waits = |said: &str| said.contains(&format!("BGP is not enabled for {HOSTNAME}"));
    let mut stopped = site.lb.spawn(&exe, &words);
    stopped.line("what it waits for", waits);
    site.lb.run("kill", &[&stopped.id().to_string()]);
    assert!(stopped.wait().success());
    let server = site.lb.spawn(&exe, &words);
    server.line("what it waits for", waits);
    site.metal.with(|books| books.neighbours = neighbours);
    server.line("ready", |said| said.contains("] ready"));
}

/// A start while the provider is away goes on with what it said last.
fn a_start_does_without_the_provider() {
    let site = Site::new();
    let words = site.words();
    let words: Vec<&str> = words.split(' ').skip(1).chain(["--stateDir", "/run/state-without"]).collect();
    let exe = site.slb();
    let _routers = site.routers();
    let mut server = Server::start(&site.lb, &exe, &words);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    server.process().kill();
    let away = Fault { done: Effect::None, then: Then::Answer(503, "X-A: b", "") };
    site.metal.fail("GET", &[away; 1000]);
    let mut server = Server::start(&site.lb, &exe, &words);
    server.process().line("why", |said| said.contains("Equinix Metal is away"));
    for peer in PEERS {
        server.process().line("a peer up", |said| said.contains(&format!("Peer Up Key={peer} ")));
    }
    wait::until("the route in both routers", || (site.have_route("147.75.84.1") == [true; 2]).then_some(()));
}

/// What is reserved is what the API shows, after every kill.
fn killed_at_random_moments() {
    let site = Site::new();
    let words = site.words();
    let words: Vec<&str> = words.split(' ').skip(1).chain(["--stateDir", "/run/state-killed"]).collect();
    let exe = site.slb();
    let mut dice = Dice(20_211_112);
    let mut most = 0;
    for kill in 0..KILLS {
        let server = Server::start(&site.lb, &exe, &words);
        check_reserved(&site, &server);
        most = most.max(server.list().as_array().map_or(0, Vec::len));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (site, stop) = (&site, &stop);
                let seed = dice.roll(u64::MAX >> 34) + client;
                scope.spawn(move || change_things(site, stop, Dice(seed)));
            }
            thread::sleep(Duration::from_millis(dice.roll(LONGEST_MS)));
            if kill % 3 == 0 {
                // The answer to the next one is lost as well.
                site.metal.fail("POST", &[Fault { done: Effect::Done, then: Then::Cut }]);
            }
            server.kill();
            stop.store(true, Ordering::Release);
        });
    }
    let server = Server::start(&site.lb, &exe, &words);
    check_reserved(&site, &server);
    assert!(most > 2, "hardly anything was ever created");
    // The load-balancers stay on disk, and so do their addresses; the provider is not asked.
    let asked = site.metal.with(|books| books.calls.len());
    server.kill();
    site.lb.run(SLB, &["cleanup", "--stateDir", "/run/state-killed"]);
    assert!(!site.lb.tables().contains("147.75.84"), "{}", site.lb.tables());
    site.metal.with(|books| assert_eq!((books.addresses().is_empty(), books.calls.len()), (false, asked)));
}

fn check_reserved(site: &Site, server: &Server<'_>) {
    let listed = server.list();
    let mut eips: Vec<_> = listed.as_array().into_iter().flatten().map(|each| each["eip"].as_str().unwrap()).collect();
    eips.sort_unstable();
    site.metal.until("what the API shows", |books| books.addresses() == eips);
}

/// A client: creates and deletes until the server does not answer.
fn change_things(site: &Site, stop: &AtomicBool, mut dice: Dice) {
    let ask = |method: &str, path: &str, body: &str| http::ask(&site.lb, Server::api(), method, path, &[], body).ok();
    while !stop.load(Ordering::Acquire) {
        let Some(created) = ask("POST", "/loadbalancer", r#"{"name":"x","port":80}"#) else { break };
        if created.status == 201 && dice.roll(4) > 0 {
            let path = format!("/loadbalancer/{}", created.json()["uuid"].as_str().unwrap());
            if ask("DELETE", &path, "").is_none() {
                break;
            }
        }
    }
}

/// A sequence of numbers that a seed repeats (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

slb_lab::main! { fast: [as_documented, a_slow_provider_holds_up_nobody_else, bgp_may_be_enabled_later, a_start_does_without_the_provider, killed_at_random_moments] }
