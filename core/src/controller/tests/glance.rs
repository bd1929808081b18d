// SPDX-License-Identifier: Apache-2.0
//! Where a look takes long, there is only a glance at the data plane in between.

use super::*;

/// All is read again after that.
const WHOLE: Duration = Duration::from_secs(300);

/// With a load-balancer of two backends, and a look at everything just behind it.
fn server(sim: &Sim) -> Server {
    let mut server = Server::start(sim).unwrap();
    server.created(1);
    server.ask(Command::AddBackends(lb(1), vec![backend(1), backend(2)])).unwrap();
    server.pass(INTERVAL);
    server.controller.next_whole_look = server.now + WHOLE;
    sim.with(|remains| remains.log.clear());
    server
}

fn steps(sim: &Sim) -> Vec<String> {
    sim.with(|remains| std::mem::take(&mut remains.log)).iter().map(ToString::to_string).collect()
}

#[test]
fn what_has_changed_is_seen_at_a_glance_and_repaired() {
    let sim = Sim::default();
    let mut server = server(&sim);
    let service = server.board.get(lb(1)).unwrap().virtual_service(vip(85));
    server.pass(INTERVAL);
    assert!(steps(&sim).is_empty());
    // One backend is missing, then the whole service, then the address.
    sim.with(|remains| remains.kernel.services.get_mut(&service.key()).unwrap().backends.remove(backend(2).target));
    server.pass(INTERVAL);
    assert_eq!(steps(&sim).len(), 1);
    server.check();
    sim.with(|remains| remains.kernel.services.clear());
    server.pass(INTERVAL);
    assert_eq!(steps(&sim).len(), 3);
    server.check();
    sim.with(|remains| remains.kernel.host.bound.clear());
    server.pass(INTERVAL);
    assert_eq!(steps(&sim), ["bind 192.168.0.85"]);
    server.check();
    // What others made is seen and left alone, and that it goes again.
    let other = ServiceView::default();
    let key = Endpoint::tcp(vip(86), port(1)).into();
    sim.with(|remains| remains.kernel.services.insert(key, other));
    server.pass(INTERVAL);
    assert!(server.controller.observed.services.contains_key(&key));
    sim.with(|remains| remains.kernel.services.remove(&key));
    server.pass(INTERVAL);
    assert!(!server.controller.observed.services.contains_key(&key) && steps(&sim).is_empty());
}

#[test]
fn what_is_not_seen_at_a_glance_is_found_when_all_is_read() {
    let sim = Sim::default();
    let mut server = server(&sim);
    let service = server.board.get(lb(1)).unwrap().virtual_service(vip(85));
    let limited = BackendSettings { thresholds: Thresholds::new(9, 0).unwrap(), ..BackendSettings::default() };
    sim.with(|remains| {
        let service = remains.kernel.services.get_mut(&service.key()).unwrap();
        service.backends.insert(backend(2).target, Some(limited));
    });
    server.pass(INTERVAL);
    assert!(steps(&sim).is_empty());
    while server.controller.next_whole_look > server.now + INTERVAL {
        server.pass(INTERVAL);
    }
    assert!(steps(&sim).is_empty());
    server.pass(INTERVAL);
    assert_eq!(steps(&sim).len(), 1);
    server.check();
}
