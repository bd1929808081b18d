// SPDX-License-Identifier: Apache-2.0
//! Killed at random moments under a stream of changes: what was acknowledged is there, nothing leaks, connections go on; in user space
//! they end with slb, and new ones find what was there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use slb_lab::{
    Dice, Plane, Server, http,
    site::{Site, asked_for, endpoint},
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const KILLS: u32 = 200;
/// The store, which is what is at stake, is the same; what comes back into the data plane is seen after a few.
const KILLS_IN_USER_SPACE: u32 = 30;
const CLIENTS: u64 = 4;
/// The longest time between two kills.
const LONGEST_MS: u64 = 250;

/// What clients know: acknowledged objects by uuid, and those whose last request was not answered.
#[derive(Debug, Default)]
struct Known {
    acknowledged: BTreeMap<String, Value>,
    doubtful: BTreeSet<String>,
    unanswered_creations: usize,
}

fn killed_at_random_moments() {
    let site = Site::new(SLB);
    let _web = site.web();
    let state_dir = site.state_dir();
    let options = [
        "--arp",
        "--adapter",
        "eth0",
        "--ipamRange",
        "192.168.0.100-192.168.0.150",
        "--arpProbeInterval",
        "1ms",
        "--stateDir",
        &state_dir,
    ];
    let server = Server::start(&site.lb, SLB, &options);
    let steady = site.balanced(&server);
    let mut connection = site.client.inside(|| TcpStream::connect(endpoint(&steady)).unwrap());
    let mut dice = Dice::new(20_211_112);
    let known = Mutex::new(Known::default());
    let mut server = server;
    let kills = if Plane::here() == Plane::User { KILLS_IN_USER_SPACE } else { KILLS };
    for kill in 0..kills {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (site, known, stop) = (&site, &known, &stop);
                let seed = dice.roll(u64::MAX >> 34) + client;
                scope.spawn(move || change_things(site, known, stop, Dice::new(seed)));
            }
            thread::sleep(Duration::from_millis(dice.roll(LONGEST_MS)));
            server.process().kill();
            stop.store(true, Ordering::Release);
        });
        server = Server::start(&site.lb, SLB, &options);
        let listed = server.list();
        check_known(kill, &steady, &known, &listed);
        check_kernel(kill, &site, &listed);
        if !Plane::here().outlives_slb() {
            connection = site.client.inside(|| TcpStream::connect(endpoint(&steady)).unwrap());
        }
        assert!(still_answers(&mut connection), "kill {kill}: the connection through the VIP broke");
    }
    let created = server.list().as_array().map_or(0, Vec::len);
    assert!(created > 0, "nothing was ever created");
}

/// A client: creates, adds a backend, deletes, until the server does not answer.
fn change_things(site: &Site, known: &Mutex<Known>, stop: &AtomicBool, mut dice: Dice) {
    while !stop.load(Ordering::Acquire) {
        let mine = known.lock().unwrap().acknowledged.keys().cloned().collect::<Vec<_>>();
        let pick = usize::try_from(dice.roll(mine.len().max(1) as u64)).unwrap();
        let answered = match (dice.roll(5), mine.get(pick)) {
            (0 | 1, Some(uuid)) => delete(site, known, uuid),
            (2, Some(uuid)) => add_backend(site, known, uuid, dice.roll(200) + 1),
            _ => create(site, known),
        };
        if answered.is_none() {
            break;
        }
    }
}

fn ask(site: &Site, method: &str, path: &str, body: &str) -> Option<http::Response> {
    http::ask(&site.lb, Server::api(), method, path, &[], body).ok()
}

fn create(site: &Site, known: &Mutex<Known>) -> Option<()> {
    known.lock().unwrap().unanswered_creations += 1;
    let response = ask(site, "POST", "/loadbalancer", r#"{"name":"x","port":80}"#)?;
    let mut known = known.lock().unwrap();
    known.unanswered_creations -= 1;
    if response.status == 201 {
        let created = response.json();
        known.acknowledged.insert(uuid_of(&created), created);
    }
    Some(())
}

fn delete(site: &Site, known: &Mutex<Known>, uuid: &str) -> Option<()> {
    if !known.lock().unwrap().doubtful.insert(uuid.to_owned()) {
        return Some(());
    }
    let response = ask(site, "DELETE", &format!("/loadbalancer/{uuid}"), "")?;
    let mut known = known.lock().unwrap();
    known.doubtful.remove(uuid);
    if response.status == 204 {
        known.acknowledged.remove(uuid);
    }
    Some(())
}

fn add_backend(site: &Site, known: &Mutex<Known>, uuid: &str, number: u64) -> Option<()> {
    if !known.lock().unwrap().doubtful.insert(uuid.to_owned()) {
        return Some(());
    }
    let body = format!(r#"{{"ip":"10.1.0.{number}","port":80}}"#);
    ask(site, "POST", &format!("/loadbalancer/{uuid}/backend"), &body)?;
    let now = ask(site, "GET", &format!("/loadbalancer/{uuid}"), "")?;
    let mut known = known.lock().unwrap();
    known.doubtful.remove(uuid);
    if now.status == 200 {
        known.acknowledged.insert(uuid.to_owned(), now.json());
    }
    Some(())
}

/// What was acknowledged is there, as it was; what is there beyond was on its way. Then all of it is known.
fn check_known(kill: u32, steady: &Value, known: &Mutex<Known>, listed: &Value) {
    let mut known = known.lock().unwrap();
    let listed: BTreeMap<String, Value> =
        listed.as_array().unwrap().iter().map(|each| (uuid_of(each), each.clone())).collect();
    assert!(listed.contains_key(steady["uuid"].as_str().unwrap()), "kill {kill}");
    for (uuid, object) in &known.acknowledged {
        match listed.get(uuid) {
            Some(found) if asked_for(found) == asked_for(object) => {}
            _ if known.doubtful.contains(uuid) => {}
            other => panic!("kill {kill}: acknowledged {object}, found {other:?}"),
        }
    }
    let unknown = listed.keys().filter(|uuid| !known.acknowledged.contains_key(*uuid)).count() - 1;
    assert!(unknown <= known.unanswered_creations, "kill {kill}: {unknown} objects that nobody asked for");
    let acknowledged = listed.into_iter().filter(|(uuid, _)| uuid != steady["uuid"].as_str().unwrap()).collect();
    *known = Known { acknowledged, ..Known::default() };
}

/// The kernel has what the API says and nothing else.
fn check_kernel(kill: u32, site: &Site, listed: &Value) {
    let mut services = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for each in listed.as_array().unwrap() {
        let endpoint = endpoint(each);
        assert!(addresses.insert(endpoint.ip().to_string()), "kill {kill}: {} twice", endpoint.ip());
        services.insert(format!("-A -t {endpoint} -s rr"));
        for backend in each["backends"].as_array().into_iter().flatten() {
            let (ip, port) = (backend["ip"].as_str().unwrap(), &backend["port"]);
            services.insert(format!("-a -t {endpoint} -r {ip}:{port} -m -w 1"));
        }
    }
    let bound = site.lb.sh("ip -o -4 addr show dev eth0");
    let words = bound.split_whitespace().filter_map(|word| word.strip_suffix("/32"));
    let kernel_addresses: BTreeSet<String> = words.map(str::to_owned).collect();
    assert_eq!(site.lb.services(), services, "kill {kill}");
    assert_eq!(kernel_addresses, addresses, "kill {kill}");
}

fn uuid_of(load_balancer: &Value) -> String {
    load_balancer["uuid"].as_str().unwrap().to_owned()
}

/// Asks over a connection that was made at the very beginning.
fn still_answers(connection: &mut TcpStream) -> bool {
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = [0; "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\none\n".len()];
    connection.write_all(b"GET / HTTP/1.1\r\nHost: steady\r\n\r\n").is_ok()
        && connection.read_exact(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

slb_lab::main! { fast: [killed_at_random_moments], user: [killed_at_random_moments] }
