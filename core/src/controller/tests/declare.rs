// SPDX-License-Identifier: Apache-2.0
//! What the configuration file declares is there as a whole, or nothing has changed.

use super::*;
use crate::{
    command::{Declaration, Tally, WantedVips},
    model::{Families, Origin, Phase},
};

/// One of the file, with those backends, on any VIP.
fn new(number: u128, name: &str, at: i64, backends: &[u8]) -> NewLoadBalancer {
    let Command::Create(new) = create(number, None) else { panic!("no creation") };
    let backends = Some(backends.iter().copied().map(backend).collect());
    NewLoadBalancer { name: Name::try_from(name.to_owned()).unwrap(), listen: port(at).into(), backends, ..new }
}

fn on(vip: Vip, new: NewLoadBalancer) -> NewLoadBalancer {
    NewLoadBalancer { vips: Some(vip).into(), ..new }
}

/// One of each family, with these among them.
fn dual(named: &[Vip]) -> WantedVips {
    WantedVips::new(Some(Families::Dual), named).unwrap()
}

fn tally(created: usize, changed: usize, removed: usize) -> Tally {
    Tally { created, changed, removed }
}

/// `None` if it crashed on the way.
pub(super) fn declare(server: &mut Server, all: &[NewLoadBalancer]) -> Option<Result<Tally, (Option<usize>, Failure)>> {
    let (answer, mut answered) = oneshot::channel();
    server.controller.expect_declarations();
    server.run(vec![Request {
        wish: Declaration::of_file(all.to_vec()).into(),
        terms: Terms::default(),
        span: Span::none(),
        answer,
    }])?;
    match answered.try_recv().ok().flatten()? {
        Ok(Answer::Declared(tally, _)) => Some(Ok(tally)),
        Err(Failure::Declared { index, why }) => Some(Err((index, *why))),
        other => panic!("{other:?}"),
    }
}

/// Name, first VIP and port of each, in order of creation.
fn shown(server: &Server) -> Vec<(String, Vip, u16)> {
    let all = server.board.list().unwrap_or_default().into_iter().map(|seen| seen.load_balancer);
    all.map(|each| (each.name.to_string(), each.vips.first(), each.port.get())).collect()
}

#[test]
fn an_edit_is_carried_out_as_a_whole() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let (web, dns) = (new(1, "web", 80, &[1, 2]), new(2, "dns", 53, &[3]));
    assert_eq!(declare(&mut server, &[web.clone(), dns]).unwrap().unwrap(), tally(2, 0, 0));
    server.check();
    assert_eq!(shown(&server), [("web".to_owned(), vip(85), 80), ("dns".to_owned(), vip(86), 53)]);
    assert!(server.board.list().unwrap().iter().all(|seen| seen.load_balancer.origin == Origin::File));
    sim.with(|remains| remains.log.clear());
    assert_eq!(declare(&mut server, &[new(3, "dns", 53, &[3]), web]).unwrap().unwrap(), tally(0, 0, 0));
    assert_eq!(sim.with(|remains| remains.log.clone()), [], "nothing to do writes nothing");
    let edited = [new(4, "web", 80, &[2, 4]), new(5, "ssh", 22, &[])];
    assert_eq!(declare(&mut server, &edited).unwrap().unwrap(), tally(1, 1, 1));
    server.check();
    assert_eq!(shown(&server), [("web".to_owned(), vip(85), 80), ("ssh".to_owned(), vip(87), 22)]);
    assert_eq!(server.board.get(lb(1)).unwrap().backends()[0].id, backend(2).id, "a backend that stays keeps its id");
    assert_eq!(declare(&mut server, &[]).unwrap().unwrap(), tally(0, 0, 2));
    server.check();
}

/// The VIP that it has been given is its own, unless the file names another one.
#[test]
fn a_load_balancer_that_moves_keeps_its_vip() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    declare(&mut server, &[new(1, "one", 80, &[1]), new(2, "two", 80, &[2])]).unwrap().unwrap();
    assert_eq!(declare(&mut server, &[new(3, "two", 81, &[2])]).unwrap().unwrap(), tally(1, 0, 2));
    server.check();
    assert_eq!(shown(&server), [("two".to_owned(), vip(86), 81)]);
    // From one port to several, of which it is one: the old one has to go first.
    let listen = Listen::Ports(Ports::new([port(81).into(), port(443).into()]).unwrap());
    let keeping = Backend { target: Target { port: None, ..backend(2).target }, ..backend(2) };
    let several = NewLoadBalancer { listen, backends: Some(vec![keeping]), ..new(4, "two", 81, &[]) };
    assert_eq!(declare(&mut server, &[several]).unwrap().unwrap(), tally(1, 0, 1));
    server.check();
    assert_eq!(shown(&server), [("two".to_owned(), vip(86), 81)]);
    // Two that swap their places.
    let (one, two) = (on(vip(85), new(5, "one", 80, &[])), on(vip(86), new(6, "two", 80, &[])));
    declare(&mut server, &[one.clone(), two.clone()]).unwrap().unwrap();
    declare(&mut server, &[on(vip(86), new(7, "one", 80, &[])), on(vip(85), new(8, "two", 80, &[]))]).unwrap().unwrap();
    server.check();
    let mut all = shown(&server);
    all.sort();
    assert_eq!(all, [("one".to_owned(), vip(86), 80), ("two".to_owned(), vip(85), 80)]);
}

/// Wherever they are in the file, and although those that name none are given the lowest: 85 and 86.
#[test]
fn addresses_that_the_file_names_are_given_to_nobody_else() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let dual = dual(&[vip(86)]);
    let edit = [
        new(1, "any", 80, &[]),
        NewLoadBalancer { vips: dual, ..new(2, "dual", 80, &[]) },
        on(vip(85), new(3, "named", 80, &[])),
    ];
    assert_eq!(declare(&mut server, &edit).unwrap().unwrap(), tally(3, 0, 0));
    server.check();
    let mut all = shown(&server);
    all.sort();
    let at = |name: &str, last| (name.to_owned(), vip(last), 80);
    assert_eq!(all, [at("any", 87), at("dual", 86), at("named", 85)]);
}

/// Each names one of two, which is the lowest of what the other one may have.
#[test]
fn what_one_names_beside_any_is_not_the_others() {
    for pool_takes in [0, 3] {
        let sim = Sim::default();
        sim.with(|remains| remains.pool_takes = pool_takes);
        let mut server = Server::start(&sim).unwrap();
        let edit = [
            NewLoadBalancer { vips: dual(&[vip(85)]), ..new(1, "one", 80, &[]) },
            NewLoadBalancer { vips: dual(&[ipv6(85)]), ..new(2, "other", 80, &[]) },
        ];
        assert_eq!(declare(&mut server, &edit).unwrap().unwrap(), tally(2, 0, 0));
        server.check();
        let vips = |number| server.board.get(lb(number)).unwrap().vips;
        assert_eq!([vips(1).first(), vips(2).first()], [vip(85), vip(86)]);
        assert_eq!([vips(1).second(), vips(2).second()], [Some(ipv6(86)), Some(ipv6(85))]);
    }
}

/// Whatever fails: a contradiction, an address, a step, the disk.
#[test]
fn an_edit_that_fails_changes_nothing() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(9);
    declare(&mut server, &[new(1, "web", 80, &[1]), new(2, "dns", 53, &[3])]).unwrap().unwrap();
    let before = server.board.list();
    let unchanged = |server: &mut Server, edit: &[NewLoadBalancer]| {
        let refused = declare(server, edit).unwrap().unwrap_err();
        server.check();
        let states = |list: Option<Vec<crate::board::Seen>>| -> Vec<_> {
            let mut all: Vec<_> = list.into_iter().flatten().map(|seen| seen.load_balancer).collect();
            all.sort_by_key(|each| each.id);
            all
        };
        assert_eq!(states(server.board.list()), states(before.clone()));
        refused
    };
    let good = new(3, "web", 80, &[4]);

    let twice = new(4, "new", 22, &[5, 5]);
    let (index, why) = unchanged(&mut server, &[good.clone(), on(vip(89), twice)]);
    assert!(matches!(why, Failure::Rejected(Rejected::BackendExists { .. })), "{why}");
    assert_eq!(index, Some(1));

    let taken = on(vip(85), new(4, "new", 6443, &[]));
    let (index, why) = unchanged(&mut server, &[taken, good.clone()]);
    assert!(matches!(why, Failure::Rejected(Rejected::EndpointTaken { .. })), "{why}");
    assert_eq!(index, Some(0));

    sim.with(|remains| drop(remains.neighbours.insert(vip(88), "52:54:00:12:34:56".to_owned())));
    let (index, why) = unchanged(&mut server, &[good.clone(), on(vip(88), new(4, "new", 22, &[]))]);
    assert!(matches!(why, Failure::AddressInUse { .. }), "{why}");
    assert_eq!(index, Some(1));

    let broken = Step::Host(HostStep::Bind(vip(89)));
    sim.with(|remains| remains.broken.push((broken, false)));
    // What has made way for it is there again.
    let moved = on(vip(86), new(5, "dns", 80, &[6]));
    for edit in [
        vec![good.clone(), on(vip(89), new(4, "new", 22, &[]))],
        vec![moved.clone(), on(vip(89), new(4, "new", 22, &[]))],
    ] {
        let (index, why) = unchanged(&mut server, &edit);
        assert!(matches!(why, Failure::Step { undone: true, .. }), "{why}");
        assert_eq!(index, Some(1));
    }

    // Nor does it make way if the kernel does not let it go.
    let stuck = Step::Host(HostStep::Unbind(vip(87)));
    sim.with(|remains| remains.broken.push((stuck, false)));
    let several = Listen::Ports(Ports::new([port(53).into(), port(54).into()]).unwrap());
    let (_, why) = unchanged(&mut server, &[NewLoadBalancer { listen: several, ..new(5, "dns", 53, &[]) }]);
    assert!(matches!(why, Failure::Step { .. }), "{why}");
    sim.with(|remains| remains.broken.pop());

    sim.with(|remains| remains.disk_full = true);
    for edit in [vec![good], vec![moved.clone()]] {
        let (_, why) = unchanged(&mut server, &edit);
        assert!(matches!(why, Failure::Store(_)), "{why}");
    }
    sim.with(|remains| remains.disk_full = false);
    assert_eq!(declare(&mut server, &[moved]).unwrap().unwrap(), tally(1, 0, 2));
    server.check();
}

#[test]
fn requests_do_not_touch_what_is_of_the_file() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(9);
    declare(&mut server, &[new(1, "web", 80, &[1])]).unwrap().unwrap();
    for command in [
        Command::Delete(lb(1)),
        Command::Update(lb(1), LoadBalancerChange::default()),
        Command::AddBackends(lb(1), vec![backend(2)]),
        Command::ReplaceBackends(lb(1), Vec::new()),
        Command::RemoveBackend(lb(1), backend(1).id),
        Command::Drain(lb(1), None, DrainWish::default()),
    ] {
        let refused = server.ask(command.clone()).unwrap_err();
        assert!(matches!(refused, Failure::Rejected(Rejected::OfFile(_))), "{command:?}: {refused}");
    }
    server.ask(Command::Delete(lb(9))).unwrap();
    // A server without a file has it like all others.
    let mut server = Server::start(&sim).unwrap();
    server.ask(Command::AddBackends(lb(1), vec![backend(2)])).unwrap();
    server.ask(Command::Drain(lb(1), None, DrainWish::default())).unwrap();
    server.ask(Command::Drain(lb(1), Some(backend(1).id), DrainWish::default())).unwrap();
    // With one, it is what the file says.
    assert_eq!(declare(&mut server, &[new(2, "web", 80, &[1])]).unwrap().unwrap(), tally(0, 1, 0));
    server.check();
    assert!(!server.board.get(lb(1)).unwrap().has_drain());
}

/// Killed wherever, the next start with the same file makes all of it be there, and leaks nothing.
#[test]
fn a_crash_is_made_good_by_the_next_start() {
    let listen = Listen::Ports(Ports::new([port(80).into(), port(443).into()]).unwrap());
    let several = NewLoadBalancer { listen, ..new(4, "web", 80, &[]) };
    let dual = WantedVips::new(Some(crate::model::Families::Dual), &[]).unwrap();
    let edit = [several, new(5, "dns", 53, &[1, 2]), NewLoadBalancer { vips: dual, ..new(6, "ssh", 22, &[3]) }];
    let mut ended = false;
    for fuse in 0..400 {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        server.created(9);
        let first = [new(1, "web", 80, &[1]), new(2, "dns", 53, &[3]), new(3, "old", 25, &[3])];
        declare(&mut server, &first).unwrap().unwrap();
        sim.with(|remains| remains.fuse = Some(fuse));
        ended = declare(&mut server, &edit).is_some();
        sim.with(|remains| remains.fuse = None);
        let mut server = Server::start(&sim).unwrap();
        declare(&mut server, &edit).unwrap().unwrap();
        server.check();
        let mut all = shown(&server);
        all.sort();
        let at = |name: &str, last, port| (name.to_owned(), vip(last), port);
        let [dns, own, ssh, web] = <[_; 4]>::try_from(all).unwrap();
        assert_eq!([dns, own, web], [at("dns", 87, 53), at("lb 9", 85, 6443), at("web", 86, 80)]);
        assert_eq!((ssh.0.as_str(), ssh.2), ("ssh", 22));
        assert!(server.board.list().unwrap().iter().all(|seen| seen.load_balancer.phase == Phase::Active));
        if ended {
            break;
        }
    }
    assert!(ended, "the fuse is longer than the work");
}
