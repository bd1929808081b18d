// SPDX-License-Identifier: Apache-2.0
//! After a start into an empty kernel.

use super::*;

/// So many that they are not planned for at once.
const MANY: u8 = 200;

/// As many as are asked for, each with a backend, in the store and not in the kernel.
fn powered_off() -> Sim {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    sim.with(|remains| {
        let one = remains.disk.load_balancers.pop().unwrap();
        remains.disk.load_balancers = (1..=MANY)
            .map(|number| {
                let (id, name) = (lb(number.into()), Name::try_from(format!("lb {number}")).unwrap());
                let vips = Vip::try_from(Ipv4Addr::new(10, 0, 1, number)).unwrap().into();
                Arc::new(LoadBalancer { id, name, serial: number.into(), vips, ..(*one).clone() })
            })
            .collect();
        remains.disk.last_serial = MANY.into();
        remains.kernel = Observed::default();
        remains.log.clear();
    });
    sim
}

#[test]
fn everything_is_programmed_before_the_first_vip_is_bound() {
    let sim = powered_off();
    let server = Server::start(&sim).unwrap();
    assert!(server.board.is_ready());
    let (log, kernel) = sim.with(|remains| (remains.log.clone(), remains.kernel.clone()));
    let programmed = log.iter().rposition(|step| matches!(step, Step::Dataplane(_))).unwrap();
    let bound = log.iter().position(|step| matches!(step, Step::Host(HostStep::Bind(_)))).unwrap();
    assert!(programmed < bound, "{log:?}");
    assert_eq!(log.len(), usize::from(MANY) * 5, "source NAT, service, backend, bind, advertise; each once");
    let shown: Vec<_> = server.board.list().into_iter().flatten().map(|seen| seen.load_balancer).collect();
    assert_eq!(kernel.services, served(&shown, Time::from(clock())).services);
    assert_eq!(kernel.advertised.len(), usize::from(MANY));
}

/// One that cannot be bound is not advertised either, though that is planned for later; the others are.
#[test]
fn what_fails_in_one_pass_is_not_gone_on_with_in_the_next() {
    let sim = powered_off();
    let one = Vip::try_from(Ipv4Addr::new(10, 0, 1, 70)).unwrap();
    let step = Step::Host(HostStep::EnableSourceNat(one, SourceNat::default()));
    sim.with(|remains| remains.broken.push((step, true)));
    let mut server = Server::start(&sim).unwrap();
    assert!(!server.board.is_ready());
    let kernel = sim.with(|remains| remains.kernel.clone());
    assert!(!kernel.host.bound.contains(&one) && !kernel.advertised.contains(&one));
    assert_eq!(kernel.advertised.len(), usize::from(MANY) - 1);
    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    assert!(server.board.is_ready());
    assert!(sim.with(|remains| remains.kernel.advertised.contains(&one)));
}
