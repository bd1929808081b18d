// SPDX-License-Identifier: Apache-2.0
//! The pool of elastic IPs against a provider that follows the published API, and its faults.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "equinix/device.rs"]
mod device;
#[path = "equinix/faults.rs"]
mod faults;
#[path = "equinix/log.rs"]
mod log;
#[path = "equinix/metal.rs"]
mod metal;
#[path = "equinix/tls.rs"]
mod tls;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::json;
use slb_core::{
    errors::Chain,
    model::Vip,
    ports::{Pool, PoolError, Wanted},
};
use slb_ipam::equinix::{Client, Equinix, Place, Timing};
use uuid::Uuid;

use log::Log;
use metal::{Books, Effect, Fault, Metal, TOKEN, Then};

/// Trying again is quick, and nothing but the test calls for sweeps.
const QUICK: Timing = Timing {
    connect: Duration::from_secs(60),
    call: Duration::from_secs(60),
    tries: 4,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_secs(2),
    acquire: Duration::from_secs(60),
    sweep: Duration::from_secs(3600),
};

/// A provider, a device of it, and what the operator reads about it.
struct Site {
    metal: Metal,
    owner: Uuid,
    device: Uuid,
    log: Log,
}

impl Site {
    fn new() -> Self {
        let metal = Metal::start(TcpListener::bind("127.0.0.1:0").unwrap(), None);
        Self { owner: Uuid::new_v4(), device: metal.with(|books| books.devices[0].0), metal, log: Log::new() }
    }

    fn project(&self) -> Uuid {
        self.metal.with(|books| books.project)
    }

    fn client(&self, timing: Timing) -> Client {
        let api = format!("http://{}/metal/v1", self.metal.address());
        Client::new(api.parse().unwrap(), TOKEN.parse().unwrap(), timing).unwrap()
    }

    /// A pool as it starts, with these held.
    fn pool(&self, timing: Timing, held: &[Vip]) -> Equinix {
        let place = Place::Facility("am6".to_owned());
        let mut pool = Equinix::new(self.client(timing), self.project(), place, self.owner, self.device);
        pool.restore(held.iter().copied().collect(), Vec::new());
        pool
    }

    async fn until(&self, what: &'static str, is_so: impl Fn(&Books) -> bool + Send + 'static) {
        let metal = self.metal.handle();
        tokio::task::spawn_blocking(move || metal.until(what, is_so)).await.unwrap();
    }

    /// Nothing but these is reserved.
    async fn until_reserved(&self, addresses: &[Vip]) {
        let mut expected: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        expected.sort_unstable();
        self.until("exactly these reserved", move |books| books.addresses() == expected).await;
    }

    /// The log has a line with these words. What is in the books is not in the log yet.
    async fn until_said(&self, words: &str) {
        let saying = async {
            while !self.log.lines().iter().any(|line| line.contains(words)) {
                tokio::task::yield_now().await;
            }
        };
        let said = tokio::time::timeout(Duration::from_secs(60), saying).await;
        assert!(said.is_ok(), "{words:?} was not said: {:?}", self.log.lines());
    }

    fn check_log(&self) {
        let log = self.log.lines().join("\n");
        assert!(!log.contains(TOKEN), "{log}");
    }
}

fn vip(address: &str) -> Vip {
    Vip::try_from(address.parse::<Ipv4Addr>().unwrap()).unwrap()
}

async fn acquire(pool: &mut Equinix) -> Result<Vip, PoolError> {
    pool.acquire(Wanted::Any, &BTreeMap::new()).await
}

async fn acquire_wanted(pool: &mut Equinix, address: &str) -> Result<Vip, PoolError> {
    pool.acquire(Wanted::Vip(vip(address)), &BTreeMap::new()).await
}

fn words(error: &PoolError) -> String {
    Chain(error).to_string()
}

#[tokio::test]
async fn an_address_is_reserved_and_released() {
    let site = Site::new();
    let mut pool = site.pool(QUICK, &[]);
    let one = acquire(&mut pool).await.unwrap();
    let two = acquire(&mut pool).await.unwrap();
    assert_eq!([one, two], [vip("147.75.84.1"), vip("147.75.84.2")]);
    let posted = site.metal.with(|books| books.posted[0].clone());
    let (owner, device) = (format!("slb-{}", site.owner), format!("slb-device-{}", site.device));
    assert_eq!([&posted["tags"][0], &posted["tags"][1]], [&owner, &device]);
    assert!(posted["tags"][2].as_str().unwrap().starts_with("slb-request-"), "{posted}");
    let expected = [json!("public_ipv4"), json!(1), json!("am6"), json!(true)];
    let keys = ["type", "quantity", "facility", "fail_on_approval_required"];
    assert_eq!(keys.map(|key| posted[key].clone()), expected);
    pool.release(one);
    site.until_reserved(&[two]).await;
    site.until_said("released an address vip=147.75.84.1").await;
    site.check_log();
}

/// At most eight calls at once, and nobody is forgotten.
#[tokio::test]
async fn many_creations_take_turns() {
    let site = Site::new();
    let mut pool = site.pool(QUICK, &[]);
    let all = FuturesUnordered::new();
    for _ in 0..100 {
        all.push(pool.acquire(Wanted::Any, &BTreeMap::new()));
    }
    let found: Vec<Vip> = all.map(Result::unwrap).collect().await;
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 100);
    site.until_reserved(&found).await;
    let most = site.metal.with(|books| books.most_at_once);
    assert!(most <= 8, "{most}");
    let client = site.client(QUICK);
    assert!(!format!("{client:?} {pool:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_metro_is_named_as_one() {
    let site = Site::new();
    let mut pool =
        Equinix::new(site.client(QUICK), site.project(), Place::Metro("am".to_owned()), site.owner, site.device);
    pool.restore(BTreeSet::new(), Vec::new());
    acquire(&mut pool).await.unwrap();
    let posted = site.metal.with(|books| books.posted[0].clone());
    assert_eq!((&posted["metro"], &posted["facility"]), (&json!("am"), &json!(null)));
}

/// A start finds what a crash has left behind, wherever in the list it is, and nothing else.
#[tokio::test]
async fn a_start_releases_what_only_the_provider_knows_of() {
    let site = Site::new();
    let ours = format!("slb-{}", site.owner);
    let kept = site.metal.with(|books| {
        let mut kept = vec![vip("10.9.9.1"), vip("10.9.9.2")];
        books.add("10.9.9.1", 32, &[]);
        books.add("10.9.9.2", 32, &["slb-00000000-0000-4000-8000-000000000001", "slb-request-1"]);
        for number in 0..250 {
            let address = format!("10.8.0.{number}");
            books.add(&address, 32, &[&ours, "slb-request-2"]);
            if number % 50 == 7 {
                kept.push(vip(&address));
            }
        }
        kept
    });
    let held: Vec<Vip> = kept[1..].to_vec();
    let _pool = site.pool(QUICK, &held);
    site.until_reserved(&kept).await;
    assert_eq!(site.metal.with(|books| books.count("DELETE")), 245);
}

/// Somebody has named another state directory by mistake: the addresses of the first are in use.
#[tokio::test]
async fn what_another_state_directory_has_reserved_is_told_and_left_alone() {
    let site = Site::new();
    let tags = ["slb-00000000-0000-4000-8000-000000000001".to_owned(), format!("slb-device-{}", site.device)];
    let ours = format!("slb-{}", site.owner);
    site.metal.with(|books| {
        books.add("10.9.9.1", 32, &[&tags[0], &tags[1]]);
        books.add("10.9.9.2", 32, &[&ours, &tags[1]]);
    });
    let _pool = site.pool(QUICK, &[]);
    site.until_reserved(&[vip("10.9.9.1")]).await;
    site.until_said("with another state directory").await;
    let told: Vec<String> = site.log.lines().into_iter().filter(|line| line.contains("another state")).collect();
    assert!(told.len() == 1 && told[0].contains("vip=10.9.9.1"), "{told:?}");
}

/// Whatever the provider says about it meanwhile.
#[tokio::test]
async fn what_is_held_is_never_released() {
    let site = Site::new();
    let ours = format!("slb-{}", site.owner);
    site.metal.with(|books| {
        for (address, cidr) in [("10.9.9.1", 32), ("10.9.9.16", 29), ("10.9.9.24", 29)] {
            books.add(address, cidr, &[&ours]);
        }
        books.reservations[0]["state"] = json!("pending");
        books.reservations[0]["type"] = json!("something new");
    });
    let _pool = site.pool(QUICK, &[vip("10.9.9.1"), vip("10.9.9.18")]);
    site.until_reserved(&[vip("10.9.9.1"), vip("10.9.9.16")]).await;
    site.until_said("released an address vip=10.9.9.24").await;
    assert!(!site.log.lines().join("\n").contains("not reserved"), "{:?}", site.log.lines());
}

#[tokio::test]
async fn what_is_held_without_a_reservation_is_told() {
    let site = Site::new();
    site.metal.with(|books| books.add("10.9.9.1", 32, &[]));
    let _pool = site.pool(QUICK, &[vip("10.9.9.1"), vip("10.9.9.2")]);
    site.until_said("not reserved").await;
    let told: Vec<String> = site.log.lines().into_iter().filter(|line| line.contains("not reserved")).collect();
    assert!(told.len() == 1 && told[0].contains("vip=10.9.9.2"), "{told:?}");
}

/// What the operator has reserved is the operator's.
#[tokio::test]
async fn a_wanted_address_is_used_and_never_released() {
    let site = Site::new();
    site.metal.with(|books| {
        books.add("10.9.9.1", 32, &["mine"]);
        books.add("10.9.9.16", 29, &[]);
        books.add("10.9.9.2", 32, &["slb-00000000-0000-4000-8000-000000000001"]);
        books.add("fd00::1", 128, &[]);
        books.add("10.9.9.3", 32, &[]);
        books.reservations.last_mut().unwrap()["state"] = json!("pending");
    });
    let mut pool = site.pool(QUICK, &[]);
    assert_eq!(acquire_wanted(&mut pool, "10.9.9.1").await.unwrap(), vip("10.9.9.1"));
    let ours_now = acquire(&mut pool).await.unwrap().to_string();
    for (address, why) in [
        ("10.9.9.1", "handed out"),
        ("10.9.9.16", "not reserved on its own"),
        ("10.9.9.17", "not reserved on its own"),
        ("10.9.9.2", "reserved by an slb"),
        ("10.9.9.3", "not reserved on its own"),
        (&ours_now, "reserved by an slb"),
    ] {
        let error = acquire_wanted(&mut pool, address).await.unwrap_err();
        assert!(matches!(error, PoolError::Unavailable { .. }) && words(&error).contains(why), "{error}");
    }
    let avoid = BTreeMap::from([(vip("10.9.9.1").address(), "bound elsewhere".to_owned())]);
    let error = pool.acquire(Wanted::Vip(vip("10.9.9.1")), &avoid).await.unwrap_err();
    assert!(words(&error).ends_with("it is bound elsewhere"), "{error}");

    pool.release(vip("10.9.9.1"));
    pool.release(vip(&ours_now));
    site.until("ours released", move |books| !books.addresses().contains(&ours_now)).await;
    assert!(site.metal.with(|books| books.addresses().contains(&"10.9.9.1".to_owned())));
    assert_eq!(acquire_wanted(&mut pool, "10.9.9.1").await.unwrap(), vip("10.9.9.1"));
    assert_eq!(site.metal.with(|books| books.count("DELETE")), 1);
}

/// The provider knows nothing of what is bound here: what cannot be used goes back, and is not asked for for ever.
#[tokio::test]
async fn an_address_to_be_avoided_goes_back() {
    let site = Site::new();
    let mut pool = site.pool(QUICK, &[]);
    let avoid = BTreeMap::from([(vip("147.75.84.1").address(), "bound elsewhere".to_owned())]);
    let error = pool.acquire(Wanted::Any, &avoid).await.unwrap_err();
    assert!(words(&error).contains("147.75.84.1 cannot be used: it is bound elsewhere"), "{error}");
    site.until_reserved(&[]).await;
}
