// SPDX-License-Identifier: Apache-2.0
//! Backends that fail their checks are taken out, and come back.

use super::{
    status::{listening, news},
    *,
};
use crate::{
    checker::{Beginning, Known, Transition, Watch},
    events::Event,
    health::Standing,
    model::{
        Fallback, ProxyProtocol, ServiceSettings,
        check::{Address, Check, HealthCheck, OnFailure, PanicThreshold, Question, Reaction, SlowStart, Timing},
    },
};

pub(super) fn check(reaction: Reaction) -> Arc<HealthCheck> {
    let check = Check {
        question: Question::Tcp,
        timing: Timing::default(),
        address: Address::default(),
        port: None,
        source: None,
    };
    Arc::new(HealthCheck { check: Arc::new(check), reaction })
}

fn percent(share: i64) -> PanicThreshold {
    PanicThreshold::try_from(share).unwrap()
}

/// A load-balancer with so many backends.
fn checked(number: u128, backends: u8, reaction: Reaction) -> NewLoadBalancer {
    let Command::Create(new) = create(number, None) else { panic!("no creation") };
    let backends = Some((1..=backends).map(backend).collect());
    NewLoadBalancer { check: Some(check(reaction)), backends, ..new }
}

fn start(sim: &Sim, new: NewLoadBalancer) -> Server {
    let mut server = Server::start(sim).unwrap();
    server.ask(Command::Create(new)).unwrap();
    server
}

fn watch(server: &Server, which: u8) -> Watch {
    let load_balancer = server.board.list().unwrap().first().unwrap().load_balancer.clone();
    load_balancer.watch(load_balancer.backend(backend(which).id).unwrap()).unwrap()
}

impl Server {
    fn turn(&mut self, which: u8, standing: Standing) {
        self.try_turn(which, standing).unwrap();
    }

    /// `None` if it crashes on the way.
    fn try_turn(&mut self, which: u8, standing: Standing) -> Option<()> {
        let transition =
            Transition { watch: watch(self, which), now: Known { standing, since: clock() }, reason: None };
        self.sim.with(|remains| remains.transitions.push(transition));
        let (controller, now) = (&mut self.controller, self.now);
        let work = async {
            let learned = controller.next_learned().await;
            controller.learned(learned, now).await;
        };
        self.sim.run(work)
    }
}

fn weights(sim: &Sim) -> Vec<(u8, u16)> {
    let of = |service: &ServiceView| -> Vec<_> {
        let last = |target: &Target| match target.ip.address() {
            std::net::IpAddr::V4(address) => address.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        };
        service.backends.listed().iter().map(|(target, is)| (last(target), is.unwrap().weight.get())).collect()
    };
    sim.with(|remains| remains.kernel.services.values().flat_map(of).collect())
}

#[test]
fn a_backend_that_fails_is_taken_out_until_it_is_back() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 2, Reaction::default()));
    server.turn(1, Standing::Down);
    assert_eq!(weights(&sim), [(1, 0), (2, 1)]);
    server.check();
    server.turn(1, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1), (2, 1)]);
    server.check();
}

#[test]
fn that_a_backend_is_down_and_up_is_told() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 2, Reaction::default()));
    let mut reader = listening(&server);
    server.turn(1, Standing::Down);
    assert_eq!(news(&mut reader), [Event::BackendDown(lb(1), backend(1).id)]);
    server.turn(1, Standing::Up);
    assert_eq!(news(&mut reader), [Event::BackendUp(lb(1), backend(1).id)]);
    server.ask(Command::Drain(lb(1), Some(backend(1).id), DrainWish::default())).unwrap();
    assert!(matches!(news(&mut reader)[..], [Event::BackendChanged(..)]));
}

#[test]
fn a_backend_that_fails_may_be_removed() {
    let sim = Sim::default();
    let mut server =
        start(&sim, checked(1, 2, Reaction { on_failure: Some(OnFailure::Remove), ..Reaction::default() }));
    server.turn(2, Standing::Down);
    assert_eq!(weights(&sim), [(1, 1)]);
    server.turn(2, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1), (2, 1)]);
}

/// A client of UDP that keeps its port would stay with a dead backend of weight 0 for as long as it sends.
#[test]
fn a_backend_of_udp_that_fails_is_removed_unless_it_is_asked_to_stay() {
    for (on_failure, left) in [(None, &[(1, 1)][..]), (Some(OnFailure::Weight0), &[(1, 1), (2, 0)])] {
        let sim = Sim::default();
        let new = checked(1, 2, Reaction { on_failure, ..Reaction::default() });
        let mut server = start(&sim, NewLoadBalancer { protocol: Protocol::Udp, ..new });
        server.turn(2, Standing::Down);
        assert_eq!(weights(&sim), left);
        server.check();
    }
}

/// Its connections would wait for an answer that nobody gives, until the deadline.
#[test]
fn a_backend_that_is_to_be_removed_is_removed_while_it_is_drained() {
    let sim = Sim::default();
    let mut server =
        start(&sim, checked(1, 2, Reaction { on_failure: Some(OnFailure::Remove), ..Reaction::default() }));
    server.ask(Command::Drain(lb(1), Some(backend(2).id), DrainWish::default())).unwrap();
    assert_eq!(weights(&sim), [(1, 1), (2, 0)]);
    server.turn(2, Standing::Down);
    assert_eq!(weights(&sim), [(1, 1)]);
    server.turn(2, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1), (2, 0)]);
    server.check();
}

/// A restart neither brings a dead backend back nor forgets that the living are known.
#[test]
fn health_is_remembered_over_a_restart() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 2, Reaction::default()));
    server.turn(1, Standing::Down);
    sim.with(|remains| (remains.watched.clear(), remains.log.clear()));
    let mut server = Server::start(&sim).unwrap();
    assert_eq!(weights(&sim), [(1, 0), (2, 1)]);
    assert!(sim.with(|remains| remains.log.iter().all(|step| matches!(step, Step::Advert(_)))), "nothing was touched");
    let known = |beginning: &Beginning| match beginning {
        Beginning::Known(known) => Some(known.standing),
        Beginning::New | Beginning::After(_) => None,
    };
    let begun: Vec<_> = sim.with(|remains| remains.watched[&lb(1)].values().map(known).collect());
    assert_eq!(begun, [Some(Standing::Down), Some(Standing::Up)]);
    server.turn(1, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1), (2, 1)]);
}

#[test]
fn when_too_many_fail_all_are_sent_to() {
    let sim = Sim::default();
    let reaction = Reaction { panic_threshold: percent(50), ..Reaction::default() };
    let mut server = start(&sim, checked(1, 4, reaction));
    server.turn(1, Standing::Down);
    server.turn(2, Standing::Down);
    assert_eq!(weights(&sim), [(1, 0), (2, 0), (3, 1), (4, 1)]);
    server.turn(3, Standing::Down);
    assert_eq!(weights(&sim), [(1, 1), (2, 1), (3, 1), (4, 1)]);
    server.turn(2, Standing::Up);
    assert_eq!(weights(&sim), [(1, 0), (2, 1), (3, 0), (4, 1)]);
    server.check();
}

#[test]
fn the_fallback_serves_while_nobody_else_does() {
    let sim = Sim::default();
    let fallback = Fallback { target: backend(9).target, settings: BackendSettings::default() };
    let new = NewLoadBalancer { fallback: Some(fallback), ..checked(1, 1, Reaction::default()) };
    let mut server = start(&sim, new);
    assert_eq!(weights(&sim), [(1, 1)]);
    server.turn(1, Standing::Down);
    assert_eq!(weights(&sim), [(1, 0), (9, 1)]);
    let twice = server.ask(Command::AddBackends(lb(1), vec![backend(9)]));
    assert!(matches!(twice, Err(Failure::Rejected(Rejected::BackendIsFallback(_)))), "{twice:?}");
    server.turn(1, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1)]);
    server.check();
}

/// Also when slb is started anew on the way.
#[test]
fn a_backend_that_is_back_gets_its_share_slowly() {
    let sim = Sim::default();
    let slow_start = SlowStart::try_from(Duration::from_secs(10)).unwrap();
    let mut new = checked(1, 2, Reaction { slow_start, ..Reaction::default() });
    new.backends.as_mut().unwrap()[0].weight = Weight::from(10);
    let mut server = start(&sim, new);
    server.pass(Duration::from_secs(1));
    server.turn(1, Standing::Down);
    server.turn(1, Standing::Up);
    assert_eq!(weights(&sim)[0], (1, 1));
    let mut seen = Vec::new();
    for second in 1..=12 {
        server.pass(Duration::from_secs(1));
        if second == 5 {
            server = Server::start(&sim).unwrap();
        }
        server.check();
        seen.push(weights(&sim)[0].1);
    }
    assert!(seen.is_sorted() && seen[4] == 5 && seen[11] == 10, "{seen:?}");
}

/// A weight that is raised on the same VIP is no reason to forget what failed there.
#[test]
fn what_could_not_be_erased_is_erased_while_weights_are_raised() {
    let sim = Sim::default();
    let slow_start = SlowStart::try_from(Duration::from_secs(10)).unwrap();
    let mut new = checked(1, 1, Reaction { slow_start, ..Reaction::default() });
    new.backends.as_mut().unwrap()[0].weight = Weight::from(20);
    let mut server = start(&sim, new);
    let beside =
        NewLoadBalancer { listen: port(80).into(), vips: Some(vip(85)).into(), ..checked(2, 1, Reaction::default()) };
    server.ask(Command::Create(beside)).unwrap();
    server.turn(1, Standing::Down);
    server.turn(1, Standing::Up);
    let remove = DataplaneStep::RemoveService(endpoint(&server.board.get(lb(2)).unwrap()).into());
    sim.with(|remains| remains.broken.push((Step::Dataplane(remove), true)));
    server.ask(Command::Delete(lb(2))).unwrap_err();
    sim.with(|remains| (remains.broken.clear(), remains.disk_full = true));
    server.pass(Duration::from_secs(1));
    assert!(server.board.get(lb(2)).is_some());
    sim.with(|remains| remains.disk_full = false);
    (0..5).for_each(|_| server.pass(Duration::from_millis(600)));
    assert_eq!(server.board.get(lb(2)), None);
    server.check();
}

/// A weight of 1 has no parts; while one is raised, all are counted in twentieths.
#[test]
fn a_small_weight_is_raised_slowly_too() {
    let sim = Sim::default();
    let slow_start = SlowStart::try_from(Duration::from_secs(20)).unwrap();
    let mut server = start(&sim, checked(1, 2, Reaction { slow_start, ..Reaction::default() }));
    server.pass(Duration::from_secs(1));
    server.turn(1, Standing::Down);
    server.turn(1, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1), (2, 20)]);
    (0..10).for_each(|_| server.pass(Duration::from_secs(1)));
    assert_eq!(weights(&sim), [(1, 10), (2, 20)]);
    server.check();
    (0..10).for_each(|_| server.pass(Duration::from_secs(1)));
    assert_eq!(weights(&sim), [(1, 1), (2, 1)]);
    server.check();
}

/// Of two load-balancers that ask the same, each knows.
#[test]
fn one_check_is_for_all_that_ask_it() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 1, Reaction::default()));
    server.ask(Command::Create(checked(2, 1, Reaction::default()))).unwrap();
    server.turn(1, Standing::Down);
    assert_eq!(weights(&sim), [(1, 0), (1, 0)]);
    server.ask(Command::Delete(lb(1))).unwrap();
    assert_eq!(sim.with(|remains| remains.watched.keys().copied().collect::<Vec<_>>()), [lb(2)]);
    server.check();
}

/// Nobody is told a second time what a check that goes on has found.
#[test]
fn who_asks_what_is_asked_already_knows_what_is_known() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 2, Reaction::default()));
    server.turn(1, Standing::Down);
    server.ask(Command::Create(checked(2, 1, Reaction::default()))).unwrap();
    assert_eq!(weights(&sim), [(1, 0), (2, 1), (1, 0)], "created without a dead backend");
    let Ok(Answer::Backends(added)) = server.ask(Command::AddBackends(lb(2), vec![backend(2)])) else { panic!() };
    assert_eq!(added, [backend(2)]);
    server.turn(1, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1), (2, 1), (1, 1), (2, 1)]);
    server.check();
}

/// The check of one was wrong and took its backend out; that of the other is not.
#[test]
fn a_check_that_is_corrected_to_one_that_passes_brings_backends_back() {
    let sim = Sim::default();
    let wrong = Check { port: Some(port(1)), ..Check::clone(&check(Reaction::default()).check) };
    let wrong = HealthCheck { check: Arc::new(wrong), reaction: Reaction::default() };
    let mut server =
        start(&sim, NewLoadBalancer { check: Some(Arc::new(wrong)), ..checked(1, 1, Reaction::default()) });
    server.ask(Command::Create(checked(2, 1, Reaction::default()))).unwrap();
    server.turn(1, Standing::Down);
    assert_eq!(weights(&sim), [(1, 0), (1, 1)]);
    let right = LoadBalancerChange { check: Some(Some(check(Reaction::default()))), ..Default::default() };
    server.ask(Command::Update(lb(1), right)).unwrap();
    assert_eq!(weights(&sim), [(1, 1), (1, 1)]);
    server.check();
}

/// Who asks more often, or decides sooner, does not begin anew; who asks something else does.
#[test]
fn a_check_at_other_times_goes_on_from_what_is_known() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 2, Reaction::default()));
    let before = [1, 2].map(|which| watch(&server, which));
    server.turn(1, Standing::Down);
    let begun = |server: &mut Server, check: Check| {
        let check = HealthCheck { check: Arc::new(check), reaction: Reaction::default() };
        let change = LoadBalancerChange { check: Some(Some(Arc::new(check))), ..Default::default() };
        server.ask(Command::Update(lb(1), change)).unwrap();
        server.sim.with(|remains| remains.watched[&lb(1)].values().cloned().collect::<Vec<_>>())
    };
    let mut changed = Check::clone(&check(Reaction::default()).check);
    changed.timing = Timing::every(Duration::from_secs(5)).unwrap();
    assert_eq!(begun(&mut server, changed.clone()), before.map(Beginning::After));
    assert_eq!(weights(&sim), [(1, 0), (2, 1)]);
    server.turn(1, Standing::Up);
    assert_eq!(weights(&sim), [(1, 1), (2, 1)]);
    changed.port = Some(port(8080));
    assert_eq!(begun(&mut server, changed), [Beginning::New, Beginning::New]);
    server.check();
}

/// Also on its own port by number. Another port is another server, and not every question is a connection.
#[test]
fn a_backend_that_expects_a_header_is_asked_with_one() {
    let sim = Sim::default();
    let service = ServiceSettings { proxy_protocol: Some(ProxyProtocol::V2), ..ServiceSettings::default() };
    let mut server = start(&sim, NewLoadBalancer { service, ..checked(1, 1, Reaction::default()) });
    for (question, at, expected) in [
        (Question::Tcp, None, Some(ProxyProtocol::V2)),
        (Question::Tcp, Some(80), Some(ProxyProtocol::V2)),
        (Question::Tcp, Some(8080), None),
        (Question::Icmp, None, None),
    ] {
        let port = at.map(port);
        let asked = Check { question, port, ..Check::clone(&check(Reaction::default()).check) };
        let asked = HealthCheck { check: Arc::new(asked), reaction: Reaction::default() };
        let change = LoadBalancerChange { check: Some(Some(Arc::new(asked))), ..Default::default() };
        server.ask(Command::Update(lb(1), change)).unwrap();
        assert_eq!(watch(&server, 1).proxy_protocol, expected, "{at:?}");
    }
}

#[test]
fn without_a_check_nobody_is_down() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 1, Reaction::default()));
    server.turn(1, Standing::Down);
    server.ask(Command::Update(lb(1), LoadBalancerChange { check: Some(None), ..Default::default() })).unwrap();
    assert_eq!(weights(&sim), [(1, 1)]);
    assert!(sim.with(|remains| remains.watched.is_empty()));
    server.check();
}

/// That a backend is out is not kept from the kernel by a full disk.
#[test]
fn a_full_disk_does_not_keep_a_dead_backend_in() {
    let sim = Sim::default();
    let mut server = start(&sim, checked(1, 2, Reaction::default()));
    sim.with(|remains| remains.disk_full = true);
    server.turn(1, Standing::Down);
    assert_eq!(weights(&sim), [(1, 0), (2, 1)]);
    sim.with(|remains| remains.disk_full = false);
    server.ask(Command::Drain(lb(1), Some(backend(2).id), DrainWish::default())).unwrap();
    let _ = Server::start(&sim).unwrap();
    assert_eq!(weights(&sim), [(1, 0), (2, 0)], "the next write remembers it, too");
}

/// Clients meet it until it is out, and a disk may be slow. What a crash makes slb forget, the next check finds out.
#[test]
fn a_dead_backend_is_out_before_that_is_written_down() {
    for point in 0.. {
        let sim = Sim::default();
        let mut server = start(&sim, checked(1, 2, Reaction::default()));
        sim.with(|remains| remains.fuse = Some(point));
        let ended = server.try_turn(1, Standing::Down);
        sim.with(|remains| remains.fuse = None);
        let is_out = weights(&sim) == [(1, 0), (2, 1)];
        let is_known = sim.with(|remains| remains.disk.load_balancers[0].backends()[0].condition().down.is_some());
        assert!(is_out || !is_known, "{point}");
        if ended.is_some() {
            assert!(is_known);
            return;
        }
        let mut server = Server::start(&sim).unwrap();
        server.check();
        if !is_known {
            assert_eq!(weights(&sim), [(1, 1), (2, 1)]);
            server.turn(1, Standing::Down);
        }
        assert_eq!(weights(&sim), [(1, 0), (2, 1)]);
        server.check();
    }
}
