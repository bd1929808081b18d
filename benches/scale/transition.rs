// SPDX-License-Identifier: Apache-2.0
//! A backend's health among few load-balancers and among many: from the answer to a check that decides until the kernel has another weight.
//!
//! | | what it does |
//! | --- | --- |
//! | set | sets the weight of another by one request, and looks in the same way: the limit |
//! | down | the answer is 500, so the weight becomes 0 |
//! | up | it is 200 again |

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use ipvs::{Client, Destination, Forward, Request, Service, ServiceId, scheduler};
use slb_lab::{Node, Process, Server, findings::tell_at, http};

use crate::{
    fleet::{Fleet, Host, on_a_runtime},
    process,
};

const ROOM: &str = "transition";
const FLEETS: [Fleet; 2] = [Fleet(1), Fleet(10_000)];
const ROUNDS: usize = 50;
const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
const PORT: u16 = 80;
/// Of nobody.
const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
/// Between two looks at the weight.
const LOOK: Duration = Duration::from_micros(500);

/// A check is made every 50 ms, and a weight set at once.
const LATEST: Duration = Duration::from_secs(30);

/// In turns, so that what else happens on the machine meets all of them.
pub fn measure() {
    let sites = FLEETS.map(Site::new);
    let mut found: [[Vec<f64>; 3]; 2] = Default::default();
    for round in 0..ROUNDS {
        for at in [round % 2, (round + 1) % 2] {
            for (all, times) in found[at].iter_mut().zip(sites[at].round()) {
                all.extend(times);
            }
        }
    }
    for (fleet, found) in FLEETS.iter().zip(&found) {
        for (what, times) in ["set", "down", "up"].iter().zip(found) {
            tell_at(ROOM, what, fleet.0, "s", times);
        }
    }
    sites.iter().for_each(|site| site.host.flush());
}

struct Site {
    web: Web,
    _slb: Process,
    /// Of a load-balancer whose backend is asked often, and each answer decides.
    checked: ServiceId,
    /// Of one of the same kind, of which slb knows nothing.
    by_hand: ServiceId,
    _backend: Node,
    host: Host,
}

impl Site {
    fn new(fleet: Fleet) -> Self {
        let host = Host::new();
        let backend = host.neighbour("backend", &format!("{BACKEND}/24"));
        let web = Web::start(&backend);
        let slb = process::start(fleet, 100, &host);
        let check = r#"{"type":"http","interval":"50ms","rise":1,"fall":1}"#;
        let body =
            format!(r#"{{"port":{PORT},"healthCheck":{check},"backends":[{{"ip":"{BACKEND}","port":{PORT}}}]}}"#);
        let made = http::ask(&host.node, Server::api(), "POST", "/loadbalancer", &[], &body).unwrap().json();
        let vip: Ipv4Addr = made["eip"].as_str().unwrap().parse().unwrap();
        let by_hand = ServiceId::tcp(OTHER_VIP.into(), PORT);
        let new = [
            Request::NewService(Service::new(by_hand, scheduler::RR)),
            Request::NewDestination(by_hand, destination(1)),
        ];
        host.node.inside(|| on_a_runtime(async { drop(Client::open().await.unwrap().batch(&new).await.unwrap()) }));
        Self { web, _slb: slb, checked: ServiceId::tcp(vip.into(), PORT), by_hand, _backend: backend, host }
    }

    /// How long it took, in seconds: to set a weight of 0 and of 1, down, and up.
    fn round(&self) -> [Vec<f64>; 3] {
        self.host.node.inside(|| {
            on_a_runtime(async {
                let mut client = Client::open().await.unwrap();
                let mut set = Vec::new();
                for weight in [0, 1] {
                    let start = Instant::now();
                    client.execute(Request::SetDestination(self.by_hand, destination(weight))).await.unwrap();
                    set.push(until_weight(&mut client, &self.by_hand, weight, start).await);
                }
                let mut changes = [const { Vec::new() }; 2];
                for (weight, times) in (0..).zip(&mut changes) {
                    let decided = self.web.answer(weight == 1);
                    times.push(until_weight(&mut client, &self.checked, weight, decided).await);
                }
                let [down, up] = changes;
                [set, down, up]
            })
        })
    }
}

fn destination(weight: u32) -> Destination {
    Destination { weight, ..Destination::new(BACKEND.into(), PORT, Forward::Masquerade) }
}

/// How long after that the backend has this weight, in seconds.
async fn until_weight(client: &mut Client, id: &ServiceId, weight: u32, since: Instant) -> f64 {
    while client.destinations(id).await.unwrap().first().map(|found| found.as_requested().weight) != Some(weight) {
        assert!(since.elapsed() < LATEST, "the weight does not become {weight}");
        thread::sleep(LOOK);
    }
    since.elapsed().as_secs_f64()
}

/// A server that is well or is not.
struct Web {
    is_well: Arc<AtomicBool>,
    /// When it began to be what it is.
    decided: Mutex<Receiver<Instant>>,
}

impl Web {
    /// It serves until the benchmark ends.
    fn start(node: &Node) -> Self {
        let listener = node.inside(|| TcpListener::bind((BACKEND, PORT)).unwrap());
        let is_well = Arc::new(AtomicBool::new(true));
        let (tell, decided) = mpsc::channel();
        let now = Arc::clone(&is_well);
        thread::spawn(move || {
            let mut was_well = true;
            for stream in listener.incoming().map(Result::unwrap) {
                let mut lines = BufReader::new(&stream).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let is_well = now.load(Ordering::Acquire);
                let status = if is_well { "200 OK" } else { "500 Internal Server Error" };
                if is_well != was_well {
                    let _ = tell.send(Instant::now());
                    was_well = is_well;
                }
                // Whoever asked may be gone.
                let _ = write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { is_well, decided: Mutex::new(decided) }
    }

    /// From the next check on; returns when that has been answered.
    fn answer(&self, is_well: bool) -> Instant {
        self.is_well.store(is_well, Ordering::Release);
        self.decided.lock().unwrap().recv_timeout(LATEST).unwrap()
    }
}
