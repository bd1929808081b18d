// SPDX-License-Identifier: Apache-2.0
//! A provider that follows the published Metal API, as far as slb asks for it, and fails on demand.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use uuid::Uuid;

/// Longer than anything that works takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// What it asks for in `X-Auth-Token`.
pub const TOKEN: &str = "tok3n-that-nobody-may-see";

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Whether the call has its effect all the same.
    pub done: Effect,
    /// What the client gets.
    pub then: Then,
}

/// Whether a call has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// None.
    None,
    /// The one it should have.
    Done,
    /// The one it should have, but only when [`Metal::catch_up`] is called.
    Late,
}

/// What the client gets.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// A status, a header and a body.
    Answer(u16, &'static str, &'static str),
    /// The connection is closed.
    Cut,
    /// Half of the answer.
    Half,
    /// Success, and a body that is not JSON.
    Garbage,
    /// Nothing, until the client goes.
    Silence,
}

/// Everything it knows.
#[derive(Debug)]
pub struct Books {
    /// The one project.
    pub project: Uuid,
    /// Its devices: id and hostname.
    pub devices: Vec<(Uuid, String)>,
    /// What any device has for neighbours.
    pub neighbours: Value,
    /// What is reserved, as it is listed.
    pub reservations: Vec<Value>,
    /// Addresses to hand out; one that is released is the next.
    pub free: Vec<Ipv4Addr>,
    /// Method and path of all calls.
    pub calls: Vec<String>,
    /// The bodies of all POSTs.
    pub posted: Vec<Value>,
    /// The most calls that were on their way at once.
    pub most_at_once: usize,
    at_once: usize,
    faults: Vec<(&'static str, VecDeque<Fault>)>,
    late: Vec<Call>,
}

impl Books {
    /// Addresses that are reserved, in order.
    pub fn addresses(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.reservations.iter().filter_map(|each| each["address"].as_str().map(str::to_owned)).collect();
        all.sort_unstable();
        all
    }

    /// How many calls began like this.
    pub fn count(&self, start: &str) -> usize {
        self.calls.iter().filter(|call| call.starts_with(start)).count()
    }

    /// Reserves an address as somebody else would.
    pub fn add(&mut self, address: &str, cidr: u8, tags: &[&str]) {
        let is_v4 = address.parse().is_ok_and(|address: IpAddr| address.is_ipv4());
        let kind = if is_v4 { "public_ipv4" } else { "public_ipv6" };
        self.reservations.push(reservation(Uuid::new_v4(), kind, address, cidr, json!(tags)));
    }

    fn fault(&mut self, method: &str) -> Option<Fault> {
        self.faults.iter_mut().find(|(of, _)| *of == method).and_then(|(_, faults)| faults.pop_front())
    }

    /// What the published API does: status and body.
    fn carry_out(&mut self, call: &Call) -> (u16, Value) {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let ips = format!("/projects/{}/ips", self.project);
        let devices = format!("/projects/{}/devices", self.project);
        match call.method.as_str() {
            "POST" if path == ips => self.reserve(&call.body),
            "GET" if path == ips => (200, page("ip_addresses", &self.reservations, &ips, query)),
            "GET" if path == devices => {
                let entry =
                    |(id, hostname): &(Uuid, String)| json!({"id": id, "hostname": hostname, "state": "active"});
                let all: Vec<Value> = self.devices.iter().map(entry).collect();
                (200, page("devices", &all, &devices, query))
            }
            "GET" if path.starts_with("/devices/") && path.ends_with("/bgp/neighbors") => {
                (200, json!({"bgp_neighbors": self.neighbours}))
            }
            "DELETE" if path.starts_with("/ips/") => {
                let Some(at) = self.reservations.iter().position(|each| path.ends_with(each["id"].as_str().unwrap()))
                else {
                    return (404, json!({"errors": ["Not found"]}));
                };
                let gone = self.reservations.remove(at);
                self.free.extend(gone["address"].as_str().and_then(|text| text.parse::<Ipv4Addr>().ok()));
                (204, Value::Null)
            }
            _ => (404, json!({"errors": ["Not found"]})),
        }
    }

    fn reserve(&mut self, body: &Value) -> (u16, Value) {
        self.posted.push(body.clone());
        let place = [&body["facility"], &body["metro"]].iter().filter(|place| place.is_string()).count();
        if body["type"] != "public_ipv4" || body["quantity"] != 1 || place != 1 {
            return (422, json!({"errors": ["that is not what slb asks for"]}));
        }
        let Some(address) = self.free.pop() else {
            return (422, json!({"errors": ["There is no capacity left in this facility"]}));
        };
        let made = reservation(Uuid::new_v4(), "public_ipv4", &address.to_string(), 32, body["tags"].clone());
        self.reservations.push(made.clone());
        (201, made)
    }
}

fn reservation(id: Uuid, kind: &str, address: &str, cidr: u8, tags: Value) -> Value {
    let family = if kind == "public_ipv6" { 6 } else { 4 };
    json!({
        "id": id, "type": kind, "address": address, "cidr": cidr, "network": address, "address_family": family,
        "public": true, "management": false, "manageable": true, "enabled": true, "state": "created", "tags": tags,
        "assignments": [], "addon": true, "bill": true, "quantity": 1, "href": format!("/metal/v1/ips/{id}"),
    })
}

/// A page of a list, with what the API says about pages.
fn page(name: &str, all: &[Value], path: &str, query: &str) -> Value {
    let number = |key: &str, default: usize| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
    };
    let (current, size) = (number("page", 1), number("per_page", 10));
    let last = all.len().div_ceil(size).max(1);
    let items: Vec<&Value> = all.iter().skip((current - 1) * size).take(size).collect();
    let next = (current < last).then(|| json!({"href": format!("/metal/v1{path}?page={}", current + 1)}));
    let meta = json!({"total": all.len(), "current_page": current, "last_page": last, "next": next});
    json!({name: items, "meta": meta})
}

/// A provider that serves as long as the process lives.
#[derive(Debug)]
pub struct Metal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    books: Mutex<Books>,
    changed: Condvar,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Clone, Debug)]
struct Call {
    method: String,
    path: String,
    token: String,
    body: Value,
}

impl Metal {
    /// Serves on a socket, with one device and nothing reserved.
    pub fn start(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let books = Books {
            project: Uuid::new_v4(),
            devices: vec![(Uuid::new_v4(), "am6-c3.small.x86-01".to_owned())],
            neighbours: json!([]),
            reservations: Vec::new(),
            free: (1..=250).rev().map(|last| Ipv4Addr::new(147, 75, 84, last)).collect(),
            calls: Vec::new(),
            posted: Vec::new(),
            most_at_once: 0,
            at_once: 0,
            faults: ["GET", "POST", "DELETE"].map(|method| (method, VecDeque::new())).to_vec(),
            late: Vec::new(),
        };
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { books: Mutex::new(books), changed: Condvar::new(), address, tls });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                thread::spawn(move || drop(shared.converse(stream)));
            }
        });
        Self { shared }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Looks something up, or changes it.
    pub fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        let done = work(&mut self.shared.books());
        self.shared.changed.notify_all();
        done
    }

    /// The next calls of this method go wrong like this.
    pub fn fail(&self, method: &str, faults: &[Fault]) {
        self.with(|books| {
            let (_, queue) = books.faults.iter_mut().find(|(of, _)| *of == method).unwrap();
            *queue = faults.iter().copied().collect();
        });
    }

    /// Carries out what came late.
    pub fn catch_up(&self) {
        self.with(|books| {
            for call in std::mem::take(&mut books.late) {
                drop(books.carry_out(&call));
            }
        });
    }

    /// Waits until its books are like this.
    pub fn until(&self, what: &str, is_so: impl Fn(&Books) -> bool) {
        let changed = &self.shared.changed;
        let (books, waited) = changed.wait_timeout_while(self.shared.books(), DEADLINE, |books| !is_so(books)).unwrap();
        assert!(
            !waited.timed_out(),
            "waited for a minute, in vain: {what}: {:#?} {:?}",
            books.calls,
            books.addresses()
        );
    }

    /// Another handle of the same provider.
    pub fn handle(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        {
            let mut books = self.books();
            books.at_once += 1;
            books.most_at_once = books.most_at_once.max(books.at_once);
        }
        match &self.tls {
            None => self.answer(&mut stream.try_clone()?)?,
            Some(config) => {
                let session = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                let mut tls = rustls::StreamOwned::new(session, stream.try_clone()?);
                self.answer(&mut tls)?;
                tls.conn.send_close_notify();
                tls.flush()?;
            }
        }
        // All that was asked for is read before this end is closed: else the answer may be lost with a reset.
        stream.shutdown(Shutdown::Write)?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    }

    fn answer(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        let call = Call::read(stream);
        let (fault, answer) = {
            let mut books = self.books();
            books.at_once -= 1;
            let call = call?;
            books.calls.push(format!("{} {}", call.method, call.path));
            let fault = books.fault(&call.method);
            let answer = match fault.map(|fault| fault.done) {
                _ if call.token != TOKEN => (401, json!({"errors": [format!("no such token: {}", call.token)]})),
                None | Some(Effect::Done) => books.carry_out(&call),
                Some(Effect::None) => (500, Value::Null),
                Some(Effect::Late) => {
                    books.late.push(call);
                    (500, Value::Null)
                }
            };
            (fault, answer)
        };
        self.changed.notify_all();
        let body = if answer.1.is_null() { String::new() } else { answer.1.to_string() };
        match fault.map(|fault| fault.then) {
            None => write_answer(stream, answer.0, "X-Request-Id: 1", &body),
            Some(Then::Answer(status, header, body)) => write_answer(stream, status, header, body),
            Some(Then::Cut) => Ok(()),
            Some(Then::Garbage) => write_answer(stream, answer.0, "X-Request-Id: 1", "<html>"),
            Some(Then::Half) => {
                let half = body.get(..body.len() / 2).unwrap_or_default();
                write!(stream, "HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{half}", body.len())
            }
            Some(Then::Silence) => io::copy(stream, &mut io::sink()).map(drop),
        }
    }
}

fn write_answer(stream: &mut impl Write, status: u16, header: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n{header}\r\n\r\n{body}")
}

impl Call {
    fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).map(|_| line.trim_end().to_owned())
        };
        let first = line()?;
        let mut headers = Vec::new();
        loop {
            let header = line()?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let find = |name: &str| headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value);
        let mut body = vec![0; find("content-length").parse().unwrap_or_default()];
        reader.read_exact(&mut body)?;
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().strip_prefix("/metal/v1").unwrap_or_default().to_owned();
        if method.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Self { method, path, token: find("x-auth-token").to_owned(), body })
    }
}
