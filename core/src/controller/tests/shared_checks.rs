// SPDX-License-Identifier: Apache-2.0
//! Whoever asks a backend the same knows the same of it, whatever is asked of the controller meanwhile.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    checker::{Beginning, Known, Transition, Watch},
    health::Standing,
    model::check::{Address, Check, HealthCheck, Question, Reaction, Timing},
};

#[derive(Clone, Debug)]
enum Act {
    Create(u128, u8, BTreeSet<u8>),
    Delete(u128),
    Replace(u128, BTreeSet<u8>),
    Recheck(u128, u8),
    Move(u128, i64),
    Turn(prop::sample::Index, bool),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let (number, check) = (1_u128..5, 0_u8..5);
    let backends = || prop::collection::btree_set(1_u8..4, 0..4);
    prop_oneof![
        3 => (number.clone(), check.clone(), backends()).prop_map(|(number, check, all)| Act::Create(number, check, all)),
        1 => number.clone().prop_map(Act::Delete),
        2 => (number.clone(), backends()).prop_map(|(number, all)| Act::Replace(number, all)),
        2 => (number.clone(), check).prop_map(|(number, check)| Act::Recheck(number, check)),
        1 => (number, 80_i64..83).prop_map(|(number, first)| Act::Move(number, first)),
        4 => any::<(prop::sample::Index, bool)>().prop_map(|(which, is_refused)| Act::Turn(which, is_refused)),
        1 => Just(Act::Restart),
    ]
}

/// None, at two intervals, and of another port at these.
fn check(which: u8) -> Option<Arc<HealthCheck>> {
    let timing = Timing::every(Duration::from_secs(1 + u64::from(which % 2))).unwrap();
    let check = Check {
        question: Question::Tcp,
        timing,
        address: Address::Backend,
        port: (which > 2).then(|| port(8080)),
        source: None,
    };
    (which > 0).then(|| Arc::new(HealthCheck { check: Arc::new(check), reaction: Reaction::default() }))
}

/// Those of a load-balancer of several ports keep the port.
fn members(number: u128, all: &BTreeSet<u8>) -> Vec<Backend> {
    let keeps = number.is_multiple_of(2);
    let target = |of: Backend| Target { port: of.target.port.filter(|_| !keeps), ..of.target };
    let id = |which: u8| BackendId(Uuid::from_u128(number << 8 | u128::from(which)));
    all.iter().map(|which| Backend { id: id(*which), target: target(backend(*which)), ..backend(*which) }).collect()
}

/// `None` for what no client does.
fn command(act: &Act) -> Option<Command> {
    Some(match act {
        Act::Create(number, which, all) => {
            let Command::Create(new) = create(*number, None) else { panic!("no creation") };
            let listen = if number.is_multiple_of(2) {
                Listen::Ports(Ports::new([port(80).into()]).unwrap())
            } else {
                new.listen
            };
            let backends = Some(members(*number, all));
            Command::Create(NewLoadBalancer { listen, backends, check: check(*which), ..new })
        }
        Act::Delete(number) => Command::Delete(lb(*number)),
        Act::Replace(number, all) => Command::ReplaceBackends(lb(*number), members(*number, all)),
        Act::Recheck(number, which) => {
            Command::Update(lb(*number), LoadBalancerChange { check: Some(check(*which)), ..Default::default() })
        }
        Act::Move(number, first) => {
            let ports = Some(Ports::new([port(*first).into()]).unwrap());
            Command::Update(lb(*number), LoadBalancerChange { ports, ..Default::default() })
        }
        Act::Turn(..) | Act::Restart => return None,
    })
}

/// What the checks know, after what they have been told to ask.
fn known(before: &BTreeMap<Watch, Standing>, sim: &Sim) -> BTreeMap<Watch, Standing> {
    let mut known = BTreeMap::new();
    for (watch, beginning) in sim.with(|remains| remains.watched.clone()).into_values().flatten() {
        let began = match beginning {
            Beginning::New => Standing::Up,
            Beginning::Known(Known { standing, .. }) => standing,
            Beginning::After(other) => before.get(&other).copied().unwrap_or(Standing::Up),
        };
        let is = before.get(&watch).copied().unwrap_or(began);
        known.entry(watch).or_insert(is);
    }
    known
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Also if the disk refuses to take it down, until a restart forgets what has not been; and the kernel is as the board says.
    #[test]
    fn all_know_the_same(acts in prop::collection::vec(act(), 1..20)) {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        let mut truth = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for act in &acts {
            match act {
                Act::Create(number, ..) if !seen.insert(*number) => continue,
                Act::Turn(..) if truth.is_empty() => continue,
                Act::Turn(which, is_refused) => {
                    let nth = which.index(truth.len());
                    let (watch, standing) = truth.iter_mut().nth(nth).unwrap();
                    *standing = if *standing == Standing::Up { Standing::Down } else { Standing::Up };
                    let now = Known { standing: *standing, since: clock() };
                    let transition = Transition { watch: Watch::clone(watch), now, reason: None };
                    sim.with(|remains| {
                        remains.transitions.push(transition);
                        remains.disk_full = *is_refused;
                    });
                    let (controller, now) = (&mut server.controller, server.now);
                    sim.run(async {
                        let learned = controller.next_learned().await;
                        controller.learned(learned, now).await;
                    }).unwrap();
                    sim.with(|remains| remains.disk_full = false);
                }
                Act::Restart => {
                    sim.with(|remains| remains.watched.clear());
                    drop(server);
                    server = Server::start(&sim).unwrap();
                    truth.clear();
                }
                Act::Create(..) | Act::Delete(_) | Act::Replace(..) | Act::Recheck(..) | Act::Move(..) => {
                    drop(server.ask(command(act).unwrap()));
                }
            }
            truth = known(&truth, &sim);
            server.check();
            for seen in server.board.list().into_iter().flatten() {
                let of = seen.load_balancer;
                for backend in of.backends() {
                    let is_down = of.watch(backend).map(|watch| truth[&watch] == Standing::Down);
                    prop_assert_eq!(backend.condition().down.is_some(), is_down.unwrap_or_default(), "{:?} {:?}", act, of);
                }
            }
        }
    }
}
