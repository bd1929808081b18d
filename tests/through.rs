// SPDX-License-Identifier: Apache-2.0
//! A check that asks a backend for the VIP itself, as clients do: one that does not have it is seen, by every way that leads to it.
//!
//! The services by firewall mark are made by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(dead_code, reason = "the site has more than this story needs")]

#[path = "direct/site.rs"]
mod site;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use site::{SLB, Site, VIP, VIP6, WEB};
use slb_core::{
    checker::{Checker, Through, Watch},
    health::Standing,
    model::{
        LoadBalancerId,
        check::{Check, Question, Timing},
    },
};
use slb_health::{Checks, Commands};
use uuid::Uuid;

/// How IPVS reaches them, and what the backend is told of it.
struct Way {
    vip: &'static str,
    backends: [&'static str; 2],
    flags: &'static str,
    set_up: &'static [&'static str],
}

const V4: [&str; 2] = ["192.168.0.11", "192.168.0.12"];
const V6: [&str; 2] = ["2001:db8::11", "2001:db8::12"];
const WAYS: [Way; 6] = [
    Way { vip: VIP, backends: V4, flags: "-g", set_up: &[] },
    Way { vip: VIP6, backends: V6, flags: "-g", set_up: &[] },
    Way { vip: VIP, backends: V4, flags: "-i", set_up: &["--tunnel", "ipip"] },
    Way { vip: VIP6, backends: V6, flags: "-i", set_up: &["--tunnel", "ipip"] },
    Way { vip: VIP, backends: V4, flags: "-i --tun-type gre", set_up: &["--tunnel", "gre"] },
    Way { vip: VIP, backends: V4, flags: "-i --tun-type gue --tun-port 6080", set_up: &["--tunnel", "gue"] },
];

fn watch(way: &Way, which: usize, mark: u32) -> Watch {
    let timing = Timing::every(Duration::from_millis(500)).unwrap();
    let check = Check { question: Question::Tcp, timing, port: None, source: None };
    let target = SocketAddr::new(way.backends[which].parse().unwrap(), WEB);
    let vip: IpAddr = way.vip.parse().unwrap();
    Watch { target, check: Arc::new(check), through: Some(Through { vip, mark }) }
}

/// Both backends listen; one of them lacks the VIP, and then has it.
fn a_backend_without_the_vip_is_seen() {
    let site = Site::new();
    // Answers come from the VIP, which is the load-balancer's own. Strictness does not matter.
    site.lb.sh("sysctl -w net.ipv4.conf.eth0.accept_local=1 net.ipv4.conf.all.rp_filter=1");
    site.lb.sh(&format!("ip addr add {VIP}/32 dev eth0; ip addr add {VIP6}/128 dev eth0 nodad preferred_lft 0"));
    let _web = site.web();
    for (number, way) in (1_u32..).zip(&WAYS) {
        let family = if way.vip.contains(':') { "-6" } else { "" };
        let marks = [2 * number, 2 * number + 1];
        for (mark, backend) in marks.into_iter().zip(way.backends) {
            let backend = if family.is_empty() { format!("{backend}:{WEB}") } else { format!("[{backend}]:{WEB}") };
            site.lb.sh(&format!(
                "ipvsadm -A -f {mark} {family} -s rr; ipvsadm -a -f {mark} {family} -r {backend} {}",
                way.flags
            ));
        }
        let set_up = [&["backend", "setup", "--vip", way.vip][..], way.set_up].concat();
        site.one.run(SLB, &set_up);
        site.lb.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut checks = Checks::start(Commands::Refused).unwrap();
                let reports = checks.reports();
                let [one, two] = [watch(way, 0, marks[0]), watch(way, 1, marks[1])];
                checks.set(LoadBalancerId(Uuid::nil()), [one.clone(), two.clone()].map(|watch| (watch, None)).into());
                let gone = checks.next().await.remove(0);
                assert_eq!((&gone.watch, gone.now.standing), (&two, Standing::Down), "{:?}", gone.reason);
                site.two.run(SLB, &set_up);
                let back = checks.next().await.remove(0);
                assert_eq!((&back.watch, back.now.standing), (&two, Standing::Up));
                site.one.run(SLB, &["backend", "setup", "--undo"]);
                let gone = checks.next().await.remove(0);
                assert_eq!((&gone.watch, gone.now.standing), (&one, Standing::Down));
                assert!(reports.report(&two).unwrap().last.unwrap().error.is_none());
            });
        });
        site.two.run(SLB, &["backend", "setup", "--undo"]);
    }
}

slb_lab::main! {
    fast: [a_backend_without_the_vip_is_seen],
}
