// SPDX-License-Identifier: Apache-2.0
//! A look at the kernel when nothing changed, and when a hundredth of the backends is missing.
//!
//! | | what it does |
//! | --- | --- |
//! | dump | asks for every service and its destinations, and takes in what the kernel says: the limit |
//! | unchanged | reads the same, understood and compared with the state, which leaves nothing to do |
//! | drifted | the same where a hundredth of the destinations is missing, and adds them |
//! | glance | looks at them all after such a look, which shows that nothing has changed |
//! | `ipvsadm -Sn` | prints the services |

use std::{sync::Arc, time::Instant};

use ipvs::{Client, Request};
use slb_core::{
    model::{LoadBalancer, SourceNat, Time},
    observed::HostView,
    plan::{Observed, Plan, Scope, Stage, plan},
    ports::{Dataplane, Verdict},
    state::State,
    step::{DataplaneStep, Step},
};
use slb_dataplane::Ipvs;

use slb_lab::findings::tell_at;

use crate::{
    fleet::{BACKENDS, Fleet, Host, on_a_runtime},
    limit,
};

const ROOM: &str = "reconcile";
const ROUNDS: usize = 5;
/// One destination of so many is missing where there is drift.
const DRIFT: usize = 100;

pub fn measure() {
    for load_balancers in [1_000, 10_000] {
        measure_at(Fleet(load_balancers));
    }
}

fn measure_at(fleet: Fleet) {
    let host = Host::new();
    let tell = |what, times: &[f64]| tell_at(ROOM, what, fleet.0, "s", times);
    let [mut dump, mut unchanged, mut drifted, mut glance, mut ipvsadm] = [const { Vec::new() }; 5];
    host.node.inside(|| {
        limit::send(fleet);
        let mut controller = Looker::new(fleet.load_balancers().map(Into::into).collect());
        for _ in 0..ROUNDS {
            dump.push(limit::dump(fleet).0.as_secs_f64());
            unchanged.push(on_a_runtime(controller.time(0)));
            glance.push(on_a_runtime(time_glance(fleet)));
            on_a_runtime(lose_some(fleet));
            drifted.push(on_a_runtime(controller.time((fleet.0 * BACKENDS) as usize / DRIFT)));
            let start = Instant::now();
            host.node.sh("ipvsadm -Sn >/run/saved");
            ipvsadm.push(start.elapsed().as_secs_f64());
        }
    });
    tell("dump", &dump);
    tell("unchanged", &unchanged);
    tell("drifted", &drifted);
    tell("glance", &glance);
    tell("ipvsadm -Sn", &ipvsadm);
    host.flush();
}

/// What reconciles the data plane, from one look to the next: the parts that slb is made of.
struct Looker {
    state: State,
    observed: Observed,
}

impl Looker {
    fn new(load_balancers: Vec<Arc<LoadBalancer>>) -> Self {
        let state = State::restore(load_balancers, 0).unwrap();
        let vips: Vec<_> = state.vips().collect();
        let host = HostView {
            bound: vips.iter().copied().collect(),
            source_nat: vips.iter().map(|vip| (*vip, SourceNat::Always)).collect(),
            ..HostView::default()
        };
        let observed = Observed { advertised: host.bound.clone(), host, ..Observed::default() };
        Self { state, observed }
    }

    /// How long one look takes that has so many things to repair.
    async fn time(&mut self, repairs: usize) -> f64 {
        let mut ipvs = Ipvs::open().await.unwrap();
        let (state, observed) = (&self.state, &mut self.observed);
        let start = Instant::now();
        ipvs.observe_each(|key, service| drop(observed.services.insert(key, service))).await.unwrap();
        let plan = plan(state, observed, &Scope::All, Time::FIRST);
        let steps = of_ipvs(plan);
        assert_eq!(steps.len(), repairs);
        let verdicts = ipvs.apply(&steps).await;
        let time = start.elapsed();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied)));
        time.as_secs_f64()
    }
}

async fn time_glance(fleet: Fleet) -> f64 {
    let mut ipvs = Ipvs::open().await.unwrap();
    ipvs.observe_each(|_, _| {}).await.unwrap();
    let (mut same, mut other) = (0, 0);
    let start = Instant::now();
    ipvs.observe_changes(|_, service| *if service.is_none() { &mut same } else { &mut other } += 1).await.unwrap();
    let time = start.elapsed();
    assert_eq!((same, other), (fleet.0, 0));
    time.as_secs_f64()
}

fn of_ipvs(plan: Plan) -> Vec<DataplaneStep> {
    assert!(plan.keys().all(|stage| *stage == Stage::Program), "only IPVS has drifted");
    let of_ipvs = |step| if let Step::Dataplane(step) = step { Some(step) } else { None };
    plan.into_values().flatten().filter_map(of_ipvs).collect()
}

async fn lose_some(fleet: Fleet) {
    let removal = |request| {
        if let Request::NewDestination(service, destination) = request {
            Some(Request::DelDestination(service, destination.id))
        } else {
            None
        }
    };
    let lost: Vec<Request> = fleet.requests().filter_map(removal).step_by(DRIFT).collect();
    assert!(Client::open().await.unwrap().batch(&lost).await.unwrap().iter().all(Result::is_ok));
}
