// SPDX-License-Identifier: Apache-2.0
//! Load-balancers of several ports: their marks, and what gets into their way.

use super::through::{asking_for_vip, direct, watched};
use super::*;
use crate::model::{ServiceKey, check::Reaction};

/// 80, 443 and a range.
fn several(number: u128, wanted: Option<Vip>, ranges: &[&str]) -> Command {
    let Command::Create(new) = create(number, wanted) else { panic!("no creation") };
    let ports = Ports::new(ranges.iter().map(|range| range.parse().unwrap())).unwrap();
    Command::Create(NewLoadBalancer { listen: Listen::Ports(ports), ..new })
}

fn mark_of(server: &Server, number: u128) -> Mark {
    server.board.get(lb(number)).unwrap().marked.as_ref().unwrap().mark
}

fn ports(ranges: &[&str]) -> LoadBalancerChange {
    let ports = Ports::new(ranges.iter().map(|range| range.parse().unwrap())).unwrap();
    LoadBalancerChange { ports: Some(ports), ..LoadBalancerChange::default() }
}

#[test]
fn a_mark_is_nobody_elses_and_is_handed_out_again() {
    let sim = Sim::default();
    let marks: Vec<Mark> = Mark::all().take(3).collect();
    let foreign = ServiceKey::Mark(vip(1).family(), marks[0]);
    sim.with(|remains| remains.kernel.services.insert(foreign, ServiceView::default()));
    let mut server = Server::start(&sim).unwrap();
    server.ask_all(vec![several(1, None, &["80", "443"]), several(2, None, &["80", "443"])]);
    assert_eq!([mark_of(&server, 1), mark_of(&server, 2)], [marks[1], marks[2]]);
    server.ask(Command::Delete(lb(1))).unwrap();
    server.ask(several(3, None, &["1-65535"])).unwrap();
    assert_eq!(mark_of(&server, 3), marks[1]);
    assert_eq!(sim.with(|remains| remains.kernel.services.remove(&foreign)), Some(ServiceView::default()));
    server.check();
}

/// Each by a mark of its own beside the one of the ports, which their questions do not get.
#[test]
fn backends_behind_several_ports_are_asked_for_the_vip() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let Command::Create(new) = several(1, Some(vip(85)), &["443", "80"]) else { panic!("no creation") };
    let backends =
        [1, 2].map(|which| Backend { target: Target { port: None, ..direct(which).target }, ..direct(which) });
    let (check, backends) = (Some(asking_for_vip()), Some(backends.to_vec()));
    server.ask(Command::Create(NewLoadBalancer { check, backends, ..new })).unwrap();
    let marks: Vec<Mark> = Mark::all().take(3).collect();
    assert_eq!(mark_of(&server, 1), marks[0]);
    let asked = |sim: &Sim| -> Vec<_> {
        watched(sim).iter().map(|(watch, _)| (watch.asked().to_string(), watch.through.unwrap().mark)).collect()
    };
    let lowest = |port: u16| [1, 2].map(|nth| (format!("192.168.0.85:{port}"), marks[nth]));
    assert_eq!(asked(&sim), lowest(80), "the lowest");
    server.ask(Command::Update(lb(1), ports(&["443", "8000-8100"]))).unwrap();
    assert_eq!(asked(&sim), lowest(443));
    server.check();
    server.ask(Command::Delete(lb(1))).unwrap();
    assert!(sim.with(|remains| remains.kernel.services.is_empty() && remains.kernel.host.marks.is_empty()));
}

#[test]
fn a_port_has_one_load_balancer() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(several(1, Some(vip(85)), &["80", "6000-7000"])).unwrap();
    for taken in [create(2, Some(vip(85))), several(2, Some(vip(85)), &["443", "7000-7001"])] {
        let failure = server.ask(taken).unwrap_err();
        assert!(matches!(failure, Failure::Rejected(Rejected::EndpointTaken { by, .. }) if by == lb(1)), "{failure}");
    }
    server.ask(several(2, Some(vip(85)), &["443", "7001"])).unwrap();
    let failure = server.ask(Command::Update(lb(1), ports(&["80", "443"]))).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(Rejected::EndpointTaken { by, .. }) if by == lb(2)), "{failure}");
    server.check();
}

#[test]
fn a_port_of_another_program_is_not_taken() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let foreign = Endpoint::tcp(vip(85), port(8050));
    sim.with(|remains| remains.kernel.services.insert(foreign.into(), ServiceView::default()));
    let failure = server.ask(several(1, Some(vip(85)), &["80", "8000-8100"])).unwrap_err();
    assert!(matches!(failure, Failure::Foreign(endpoint) if endpoint == foreign), "{failure}");
    server.ask(several(2, None, &["80", "8000-8100"])).unwrap();
    assert_eq!(server.board.get(lb(2)).unwrap().vips.first(), vip(86));

    let foreign = Endpoint::tcp(vip(86), port(9000));
    sim.with(|remains| remains.kernel.services.insert(foreign.into(), ServiceView::default()));
    let failure = server.ask(Command::Update(lb(2), ports(&["80", "9000"]))).unwrap_err();
    assert!(matches!(failure, Failure::Foreign(endpoint) if endpoint == foreign), "{failure}");
}

/// What else is there is not touched: no moment without a service, and connections keep their backends.
#[test]
fn ports_change_in_place() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(several(1, None, &["443", "8000-8100"])).unwrap();
    sim.with(|remains| remains.log.clear());
    server.ask(Command::Update(lb(1), ports(&["80", "8000-8200"]))).unwrap();
    assert_eq!(server.board.get(lb(1)).unwrap().port, port(80));
    let marks = |step: &Step| matches!(step, Step::Host(HostStep::Mark(_) | HostStep::Unmark(_)));
    assert!(sim.with(|remains| remains.log.iter().all(marks)));
    server.check();

    let is_fixed = |failure| matches!(failure, Failure::Rejected(Rejected::Immutable { .. }));
    let single = LoadBalancerChange { port: Some(port(80)), ..LoadBalancerChange::default() };
    assert!(is_fixed(server.ask(Command::Update(lb(1), single)).unwrap_err()));
    server.ask(create(2, None)).unwrap();
    assert!(is_fixed(server.ask(Command::Update(lb(2), ports(&["80"]))).unwrap_err()));
}

#[test]
fn rules_that_are_gone_or_too_many_are_put_right() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(several(1, None, &["80", "443"])).unwrap();
    let rule = server.board.get(lb(1)).unwrap().mark_rules(vip(85)).next().unwrap();
    sim.with(|remains| {
        remains.kernel.host.marks.clear();
        let strays = [rule, MarkRule { vip: vip(99), ..rule }, MarkRule { ports: port(9).into(), ..rule }];
        strays.into_iter().for_each(|rule| remains.kernel.note(&Step::Host(HostStep::Mark(rule))));
    });
    server.pass(INTERVAL);
    server.check();
}

#[test]
fn what_cannot_be_marked_is_not_created() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let mark = Mark::all().next().unwrap();
    let rule = MarkRule { vip: vip(85), protocol: Protocol::Tcp, ports: port(443).into(), mark };
    sim.with(|remains| remains.broken.push((Step::Host(HostStep::Mark(rule)), false)));
    let failure = server.ask(several(1, None, &["80", "443"])).unwrap_err();
    assert!(matches!(failure, Failure::Step { undone: true, .. }), "{failure}");
    assert!(sim.with(|remains| remains.kernel.services.is_empty() && remains.kernel.host.marks.is_empty()));
    server.check();
}

/// Checks ask the lowest port of those that have none of their own.
#[test]
fn a_backend_without_a_port_is_asked_on_the_lowest() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let Command::Create(new) = several(1, None, &["443", "80"]) else { panic!("no creation") };
    let own = backend(2);
    let keeps = Backend { target: Target { port: None, ..backend(1).target }, ..backend(1) };
    let check = Some(super::health::check(Reaction::default()));
    server.ask(Command::Create(NewLoadBalancer { check, backends: Some(vec![keeps, own]), ..new })).unwrap();
    let asked = |sim: &Sim| -> Vec<String> {
        sim.with(|remains| remains.watched[&lb(1)].keys().map(|watch| watch.target.to_string()).collect())
    };
    assert_eq!(asked(&sim), ["10.0.0.1:80", "10.0.0.2:80"]);
    server.ask(Command::Update(lb(1), ports(&["443"]))).unwrap();
    assert_eq!(asked(&sim), ["10.0.0.1:443", "10.0.0.2:80"]);
}
