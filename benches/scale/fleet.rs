// SPDX-License-Identifier: Apache-2.0
//! So many load-balancers of ten backends each: as records in a store, as requests to IPVS, as text for other programs.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipvs::{Client, Destination, Forward, Request, Service, ServiceId, scheduler};
use slb_core::{
    model::{
        Advertise, Backend, BackendId, BackendSettings, LoadBalancer, LoadBalancerId, Name, Origin, Phase, Port,
        Protocol, ServiceSettings, SourceNat, Target, Vip,
    },
    ports::{Store, Write},
};
use slb_lab::{Node, Segment};
use slb_store::Redb;
use uuid::Uuid;

/// Of each load-balancer.
pub const BACKENDS: u32 = 10;
const FIRST_VIP: u32 = u32::from_be_bytes([10, 80, 0, 1]);
const FIRST_BACKEND: u32 = u32::from_be_bytes([10, 160, 0, 1]);

/// So many load-balancers.
#[derive(Clone, Copy)]
pub struct Fleet(pub u32);

impl Fleet {
    /// Of services and backends.
    pub const PORT: u16 = 6443;

    pub fn vips(self) -> impl Iterator<Item = Ipv4Addr> {
        (FIRST_VIP..FIRST_VIP + self.0).map(Ipv4Addr::from)
    }

    /// What `--ipamRange` says: these, and as many as `more`.
    pub fn range(self, more: u32) -> String {
        format!("{}-{}", Ipv4Addr::from(FIRST_VIP), Ipv4Addr::from(FIRST_VIP + self.0 + more - 1))
    }

    /// Services and destinations.
    pub fn objects(self) -> u32 {
        self.0 * (1 + BACKENDS)
    }

    /// A folder with the store of these load-balancers, for one server.
    pub fn store(self, of: &Node) -> String {
        let filled = PathBuf::from(format!("/run/fleet-{}", self.0));
        if !filled.exists() {
            on_a_runtime(self.fill(&filled));
        }
        let copy = format!("/run/fleet-{}-{}", self.0, of.name());
        of.sh(&format!("cp -r {} {copy}", filled.display()));
        copy
    }

    async fn fill(self, folder: &Path) {
        let writes = self.load_balancers().map(|each| Write::Put(Arc::new(each))).collect();
        Redb::open(folder).unwrap().commit(writes).await.unwrap();
    }

    pub fn load_balancers(self) -> impl Iterator<Item = LoadBalancer> {
        let port = Port::try_from(i64::from(Self::PORT)).unwrap();
        (1..).zip(self.vips()).map(move |(serial, vip)| LoadBalancer {
            id: LoadBalancerId(Uuid::new_v4()),
            serial,
            name: Name::try_from(format!("load-balancer {serial}")).unwrap(),
            vips: Vip::try_from(vip).unwrap().into(),
            port,
            marked: None,
            protocol: Protocol::Tcp,
            backends: Some(backends(port)),
            phase: Phase::Active,
            advertise: Advertise::Always,
            source_nat: SourceNat::default(),
            service: ServiceSettings::default(),
            check: None,
            extras: None,
            origin: Origin::default(),
        })
    }

    /// Each service with its destinations.
    pub fn requests(self) -> impl Iterator<Item = Request> {
        self.vips().flat_map(requests_for)
    }

    /// The same as `ipvsadm -R` reads it.
    pub fn for_ipvsadm(self) -> String {
        let mut text = String::new();
        self.requests().for_each(|request| writeln!(text, "{request}").unwrap());
        text
    }

    /// The same as keepalived is configured.
    pub fn for_keepalived(self) -> String {
        let (mut text, port) = (String::from("global_defs {\n}\n"), Self::PORT);
        for vip in self.vips() {
            writeln!(text, "virtual_server {vip} {port} {{\nlvs_sched rr\nlvs_method NAT\nprotocol TCP").unwrap();
            addresses().for_each(|ip| writeln!(text, "real_server {ip} {port} {{\nweight 1\n}}").unwrap());
            text.push_str("}\n");
        }
        text
    }

    /// Whether the last of it is in the kernel.
    pub async fn is_there(self, client: &mut Client) -> bool {
        let last = Ipv4Addr::from(FIRST_VIP + self.0 - 1);
        let found = client.destinations(&ServiceId::tcp(last.into(), Self::PORT)).await.unwrap_or_default();
        found.len() == BACKENDS as usize
    }
}

fn backends(port: Port) -> Arc<[Backend]> {
    let backend = |ip: Ipv4Addr| {
        let target = Target { ip: ip.try_into().unwrap(), port: Some(port) };
        Backend::new(BackendId(Uuid::new_v4()), target, BackendSettings::default())
    };
    addresses().map(backend).collect()
}

fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    (FIRST_BACKEND..FIRST_BACKEND + BACKENDS).map(Ipv4Addr::from)
}

/// A service and its destinations.
fn requests_for(vip: Ipv4Addr) -> impl Iterator<Item = Request> {
    let id = ServiceId::tcp(vip.into(), Fleet::PORT);
    let add =
        move |ip: Ipv4Addr| Request::NewDestination(id, Destination::new(ip.into(), Fleet::PORT, Forward::Masquerade));
    [Request::NewService(Service::new(id, scheduler::RR))].into_iter().chain(addresses().map(add))
}

/// A host on a network of its own.
pub struct Host {
    pub node: Node,
    network: Segment,
}

impl Host {
    pub fn new() -> Self {
        let segment = Segment::new();
        Self { node: segment.host("lb", "192.168.0.1/24"), network: segment }
    }

    /// Another host on its network, which has to end before.
    pub fn neighbour(&self, name: &str, address: &str) -> Node {
        self.network.host(name, address)
    }

    /// Takes all services away.
    pub fn flush(&self) {
        self.node
            .inside(|| on_a_runtime(async { Client::open().await.unwrap().execute(Request::Flush).await.unwrap() }));
    }

    /// Services and destinations.
    pub fn objects(&self) -> u32 {
        self.node.inside(|| {
            on_a_runtime(async {
                let mut objects = 0;
                let each = |_, of_it: Vec<_>| objects += 1 + u32::try_from(of_it.len()).unwrap();
                Client::open().await.unwrap().each(each).await.unwrap();
                objects
            })
        })
    }
}

/// Writes a text to a file of the kernel's memory.
pub fn file(name: &str, text: &str) -> String {
    let path = format!("/run/{name}");
    fs::write(&path, text).unwrap();
    path
}

pub fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
