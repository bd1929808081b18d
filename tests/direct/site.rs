// SPDX-License-Identifier: Apache-2.0
//! The site: a client behind a router; load-balancer and two backends on the router's other network.
//!
//! ```text
//!  client 10.1.0.10 ── router ── 192.168.0.0/24, 2001:db8::/64 ── lb .1, one .11, two .12
//! ```

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use slb_lab::{Node, Segment, wait};

/// slb, built by cargo.
pub const SLB: &str = env!("CARGO_BIN_EXE_slb");
pub const VIP: &str = "192.168.0.85";
pub const VIP6: &str = "2001:db8::85";
/// Longer than anything that works takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to believe that nothing comes.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// Where the backends listen.
pub const WEB: u16 = 80;

/// How the load-balancer sends packets on.
#[derive(Clone, Copy)]
pub enum How {
    Dr,
    Ipip,
    Gre,
    Gue(u16),
}

pub struct Site {
    _outer: Segment,
    _inner: Segment,
    pub client: Node,
    pub router: Node,
    pub lb: Node,
    pub one: Node,
    pub two: Node,
}

impl Site {
    pub fn new() -> Self {
        let (outer, inner) = (Segment::new(), Segment::new());
        let client = outer.host("client", "10.1.0.10/24");
        let router = inner.host("router", "192.168.0.254/24");
        outer.connect(&router, "eth1", "10.1.0.1/24");
        router.sh("sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        router.sh("ip addr add 2001:db8::254/64 dev eth0 nodad; ip addr add 2001:db8:1::1/64 dev eth1 nodad");
        client.sh("ip route add default via 10.1.0.1; ip addr add 2001:db8:1::10/64 dev eth0 nodad");
        client.sh("ip -6 route add default via 2001:db8:1::1");
        let host = |name, number: u8| {
            let node = inner.host(name, &format!("192.168.0.{number}/24"));
            node.sh(&format!("ip addr add 2001:db8::{number}/64 dev eth0 nodad"));
            node.sh("ip route add default via 192.168.0.254; ip -6 route add default via 2001:db8::254");
            node
        };
        let (lb, one, two) = (host("lb", 1), host("one", 11), host("two", 12));
        for node in [&lb, &one, &two] {
            wait::until("an address of its own", || node.sh("ip -6 addr show tentative").is_empty().then_some(()));
        }
        Self { _outer: outer, _inner: inner, client, router, lb, one, two }
    }

    /// Makes the load-balancer send connections to the VIP on to both backends.
    pub fn direct(&self, vip: &str, how: How, backends: [&str; 2]) {
        let bracketed = |address: &str| if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let flags = match how {
            How::Dr => "-g".to_owned(),
            How::Ipip => "-i".to_owned(),
            How::Gre => "-i --tun-type gre".to_owned(),
            How::Gue(port) => format!("-i --tun-type gue --tun-port {port}"),
        };
        let service = format!("{}:{WEB}", bracketed(vip));
        // Otherwise the load-balancer takes its VIP for the source of tunnels, and backends drop what comes from an address of their own.
        let (length, nodad) = if vip.contains(':') { (128, "nodad preferred_lft 0") } else { (32, "") };
        self.lb.sh(&format!("ip addr add {vip}/{length} dev eth0 {nodad}; ipvsadm -A -t {service} -s rr"));
        for backend in backends.map(bracketed) {
            self.lb.sh(&format!("ipvsadm -a -t {service} -r {backend}:{WEB} {flags}"));
        }
    }

    /// Takes that back.
    pub fn no_more(&self, vip: &str) {
        let length = if vip.contains(':') { 128 } else { 32 };
        self.lb.sh(&format!("ipvsadm -C; ip addr del {vip}/{length} dev eth0"));
    }

    /// Sets both backends up.
    pub fn set_up(&self, args: &[&str]) {
        for node in [&self.one, &self.two] {
            node.run(SLB, &[&["backend", "setup"], args].concat());
        }
    }

    /// Servers on both that say their name and who asks.
    pub fn web(&self) -> [Web; 2] {
        [Web::start(&self.one, "one"), Web::start(&self.two, "two")]
    }

    /// What the client is answered.
    pub fn ask(&self, vip: &str) -> String {
        self.send(vip, &[])
    }

    /// What the client is answered to a text.
    pub fn send(&self, vip: &str, text: &[u8]) -> String {
        self.exchange(at(vip), text, PATIENCE).unwrap()
    }

    /// The same where there may be no answer.
    pub fn try_ask(&self, vip: &str) -> io::Result<String> {
        self.exchange(at(vip), &[], IMPATIENCE)
    }

    fn exchange(&self, address: SocketAddr, text: &[u8], patience: Duration) -> io::Result<String> {
        self.client.inside(|| {
            let mut stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_write_timeout(Some(patience))?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(text)?;
            stream.shutdown(Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }
}

fn at(vip: &str) -> SocketAddr {
    SocketAddr::new(vip.parse().unwrap(), WEB)
}

/// A server that reads to the end and answers with its name and who asked. It ends when it is dropped.
pub struct Web(TcpListener);

impl Web {
    fn start(node: &Node, name: &'static str) -> Self {
        let listener = node.inside(|| TcpListener::bind((IpAddr::from([0_u16; 8]), WEB)).unwrap());
        let accepting = listener.try_clone().unwrap();
        thread::spawn(move || {
            for mut stream in accepting.incoming().map_while(Result::ok) {
                // A check is gone already.
                let Ok(peer) = stream.peer_addr() else { continue };
                let peer = peer.ip().to_canonical();
                drop(std::io::copy(&mut stream, &mut std::io::sink()));
                drop(write!(stream, "{name} {peer}"));
            }
        });
        Self(listener)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // It makes accept(2) fail, which waits in the other thread.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}
