// SPDX-License-Identifier: Apache-2.0
//! The controller on the model of the world, story by story; [`laws`] are what holds whatever is asked.

use std::{
    cell::Cell,
    collections::BTreeSet,
    io,
    net::Ipv4Addr,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_channel::oneshot;
use futures_util::FutureExt;
use tracing::Span;
use uuid::Uuid;

mod cold;
mod declare;
mod drain;
mod dual;
mod edits;
mod failures;
mod fallback;
mod glance;
mod health;
mod keys;
mod laws;
mod many;
mod peers;
mod ports;
mod rehearse;
mod settings;
mod shared_checks;
mod slow_pool;
mod status;
mod terms;
mod through;
mod unserved;

use super::{Controller, Drivers};
use crate::{
    board::Board,
    command::{
        Answer, BackendChange, Command, DrainWish, Failure, LoadBalancerChange, NewLoadBalancer, Rejected, Request,
        ServiceChange, Terms, Unfit,
    },
    events::Journal,
    model::{
        Advertise, Backend, BackendId, BackendSettings, Endpoint, Listen, LoadBalancer, LoadBalancerId, Mark, MarkRule,
        Name, Port, PortRange, Ports, Protocol, Scheduler, ServiceSettings, SourceNat, Target, Thresholds, Time, Vip,
        VirtualService, Weight,
    },
    observed::{Backends, ServiceView},
    plan::{Observed, Scope, plan},
    ports::{HostEvent, PoolError},
    sim::{Sim, SimWorld, drivers, served},
    step::{AdvertStep, DataplaneStep, HostStep, Step},
    tag::Tag,
};

thread_local! {
    /// Each test runs on a thread of its own.
    static CLOCK: Cell<SystemTime> = const { Cell::new(SystemTime::UNIX_EPOCH) };
}

/// The time of day, which passes with [`Server::pass`].
fn clock() -> SystemTime {
    CLOCK.with(Cell::get)
}

const INTERVAL: Duration = Duration::from_secs(30);

fn vip(last: u8) -> Vip {
    Vip::try_from(Ipv4Addr::new(192, 168, 0, last)).unwrap()
}

fn ipv6(last: u8) -> Vip {
    format!("fd00::{last}").parse().unwrap()
}

fn port(number: i64) -> Port {
    Port::try_from(number).unwrap()
}

fn lb(number: u128) -> LoadBalancerId {
    LoadBalancerId(Uuid::from_u128(number))
}

/// The only one, or that of IPv4.
fn endpoint(of: &LoadBalancer) -> Endpoint {
    of.endpoints().next().unwrap()
}

fn backend(number: u8) -> Backend {
    let target = Target { ip: Ipv4Addr::new(10, 0, 0, number).try_into().unwrap(), port: Some(port(80)) };
    Backend::new(BackendId(Uuid::from_u128(number.into())), target, BackendSettings::default())
}

fn create(number: u128, wanted: Option<Vip>) -> Command {
    let name = Name::try_from(format!("lb {number}")).unwrap();
    Command::Create(NewLoadBalancer {
        id: lb(number),
        name,
        listen: port(6443).into(),
        protocol: Protocol::Tcp,
        vips: wanted.into(),
        advertise: Advertise::default(),
        source_nat: SourceNat::default(),
        service: ServiceSettings::default(),
        check: None,
        fallback: None,
        backends: None,
    })
}

/// A controller at work on a world.
struct Server {
    sim: Sim,
    board: Arc<Board>,
    controller: Controller<SimWorld>,
    now: Instant,
}

impl Server {
    /// `None` if it crashed on the way.
    fn start(sim: &Sim) -> Option<Self> {
        Self::with_pool(sim, 85..=90)
    }

    /// The same with these last bytes of addresses, in both families.
    fn with_pool(sim: &Sim, lasts: RangeInclusive<u8>) -> Option<Self> {
        let now = Instant::now();
        let board = Arc::new(Board::new(Journal::new(Uuid::nil(), clock)));
        let pool: Vec<Vip> = lasts.flat_map(|last| [vip(last), ipv6(last)]).collect();
        let disk = sim.with(|remains| remains.disk.clone());
        let mut controller = Controller::new(drivers(sim, &pool), disk, Arc::clone(&board), INTERVAL, now).unwrap();
        controller.reconcile(now).now_or_never()?;
        Some(Self { sim: sim.clone(), board, controller, now })
    }

    /// `None` if it crashed on the way; the inner answer then says nothing.
    fn ask_all(&mut self, commands: Vec<Command>) -> (Option<()>, Vec<Option<Result<Answer, Failure>>>) {
        let (requests, answers): (Vec<Request>, Vec<_>) = commands
            .into_iter()
            .map(|command| {
                let (answer, answered) = oneshot::channel();
                (Request { wish: command.into(), terms: Terms::default(), span: Span::none(), answer }, answered)
            })
            .unzip();
        let ended = self.run(requests);
        (ended, answers.into_iter().map(|mut answer| answer.try_recv().ok().flatten()).collect())
    }

    /// Takes requests in until nothing is under way. `None` if it crashed on the way.
    fn run(&mut self, requests: Vec<Request>) -> Option<()> {
        let now = self.now;
        let controller = &mut self.controller;
        let work = async {
            controller.handle(requests, now).await;
            while !controller.inquiries.is_empty() {
                let learned = controller.next_learned().await;
                controller.learned(learned, now).await;
            }
        };
        self.sim.run(work)
    }

    fn ask(&mut self, command: Command) -> Result<Answer, Failure> {
        let (_, mut answers) = self.ask_all(vec![command]);
        answers.pop().unwrap().expect("an answer")
    }

    fn created(&mut self, number: u128) -> Arc<LoadBalancer> {
        match self.ask(create(number, None)) {
            Ok(Answer::LoadBalancer(created)) => created,
            other => panic!("{other:?}"),
        }
    }

    /// One on a VIP that another one has, too.
    fn creates_on(&mut self, number: u128, vip: Vip, number_of_port: i64) -> VirtualService {
        let Command::Create(new) = create(number, Some(vip)) else { panic!("no creation") };
        self.ask(Command::Create(NewLoadBalancer { listen: port(number_of_port).into(), ..new })).unwrap();
        self.board.get(lb(number)).unwrap().virtual_service(vip)
    }

    fn events(&mut self, events: &[HostEvent]) {
        self.controller.host_changed(events, self.now).now_or_never().unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        CLOCK.with(|clock| clock.set(clock.get() + time));
        self.controller.tick(self.now).now_or_never().unwrap();
    }

    /// The kernel serves what the board shows, and nothing else; nothing else is paid for, either.
    fn check(&self) {
        let shown: Vec<_> = self.board.list().into_iter().flatten().map(|seen| seen.load_balancer).collect();
        // The tag that readers get of the list is the one that changes are held against.
        let tag = self.board.tag();
        assert!(tag.is_none() || tag == Tag::of_list(&self.controller.state));
        let vips: BTreeSet<Vip> = shown.iter().flat_map(|each| each.vips).collect();
        assert_eq!(self.sim.with(|remains| remains.reserved.clone()), vips);
        let expected = served(&shown, Time::from(clock()));
        let kernel = self.sim.with(|remains| remains.kernel.clone());
        assert_eq!(kernel.services, expected.services);
        assert_eq!(kernel.host.bound, expected.host.bound);
        assert_eq!(kernel.host.source_nat, expected.host.source_nat);
        assert_eq!(kernel.host.marks, expected.host.marks);
        assert_eq!(kernel.advertised, expected.advertised);
        assert_eq!(self.sim.with(|remains| remains.disk.load_balancers.len()), shown.len());
    }
}

#[test]
fn creates_in_order_programs_before_binding_and_announces_last() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    assert_eq!(server.board.list(), None);
    assert!(server.board.is_ready());
    assert_eq!(server.created(1).vips.first(), vip(85));
    assert_eq!(server.created(2).vips.first(), vip(86));
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    server.check();
    let log: Vec<String> = sim.with(|remains| remains.log.iter().map(ToString::to_string).collect());
    assert_eq!(log[..3], ["add service 192.168.0.85:6443 (rr)", "bind 192.168.0.85", "advertise 192.168.0.85"]);
    sim.with(|remains| remains.log.clear());
    assert_eq!(server.ask(Command::Delete(lb(1))).unwrap(), Answer::Gone);
    server.check();
    let log: Vec<String> = sim.with(|remains| remains.log.iter().map(ToString::to_string).collect());
    assert_eq!(
        log,
        [
            "withdraw 192.168.0.85",
            "unbind 192.168.0.85",
            "remove service 192.168.0.85:6443",
            "disable source NAT for 192.168.0.85"
        ]
    );
    server.ask(Command::Delete(lb(2))).unwrap();
    assert_eq!(server.board.list(), Some(Vec::new()));
}

/// Told of once there is a place to send connections, and no more before it goes; at once if that is no longer asked for.
#[test]
fn a_vip_is_advertised_while_there_is_a_place_to_send_connections() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let Command::Create(new) = create(1, None) else { panic!("no creation") };
    server.ask(Command::Create(NewLoadBalancer { advertise: Advertise::WithBackends, ..new })).unwrap();
    let steps = |server: &mut Server, command: Command| {
        sim.with(|remains| remains.log.clear());
        server.ask(command).unwrap();
        server.check();
        sim.with(|remains| remains.log.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let weigh = |weight: u16| {
        let change = BackendChange { weight: Some(Weight::from(weight)), ..BackendChange::default() };
        Command::UpdateBackend(lb(1), backend(1).id, change)
    };
    let advertised = |steps: Vec<String>| steps.last().is_some_and(|step| step == "advertise 192.168.0.85");
    let withdrawn = |steps: Vec<String>| steps.first().is_some_and(|step| step == "withdraw 192.168.0.85");
    server.check();
    assert!(advertised(steps(&mut server, Command::AddBackends(lb(1), vec![backend(1)]))));
    assert!(withdrawn(steps(&mut server, weigh(0))));
    assert!(advertised(steps(&mut server, weigh(1))));
    assert!(withdrawn(steps(&mut server, Command::RemoveBackend(lb(1), backend(1).id))));
    let always = LoadBalancerChange { advertise: Some(Advertise::Always), ..LoadBalancerChange::default() };
    assert!(advertised(steps(&mut server, Command::Update(lb(1), always))));
}

/// New ones come before old ones go, and what stays is not touched.
#[test]
fn all_backends_are_replaced_at_once() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let _ = server.created(1);
    let replace = |all: &[u8]| Command::ReplaceBackends(lb(1), all.iter().copied().map(backend).collect());
    server.ask(replace(&[1, 2])).unwrap();
    server.check();
    sim.with(|remains| remains.log.clear());
    server.ask(replace(&[2, 3])).unwrap();
    server.check();
    let log: Vec<String> = sim.with(|remains| remains.log.iter().map(ToString::to_string).collect());
    let [one, three] = [1, 3].map(|which| backend(which).target);
    let expected = [
        format!("add backend {three} (MASQ weight 1) to 192.168.0.85:6443"),
        format!("remove backend {one} from 192.168.0.85:6443"),
    ];
    assert_eq!(log, expected);
    let twice = server.ask(replace(&[4, 4]));
    assert!(matches!(twice, Err(Failure::Rejected(Rejected::BackendExists { .. }))), "{twice:?}");
    server.check();
}

/// In place: connections and backends stay.
#[test]
fn a_scheduler_is_changed_in_place() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let _ = server.created(1);
    sim.with(|remains| remains.log.clear());
    let service = ServiceChange { scheduler: Some(Scheduler::Mh), ..ServiceChange::default() };
    let change = LoadBalancerChange { service, ..LoadBalancerChange::default() };
    server.ask(Command::Update(lb(1), change.clone())).unwrap();
    server.check();
    assert_eq!(sim.with(|remains| remains.log[0].to_string()), "set service 192.168.0.85:6443 (mh)");
    server.ask(Command::Update(lb(1), change)).unwrap();
    assert_eq!(sim.with(|remains| remains.log.len()), 1, "what is so already is not written again");
}

#[test]
fn a_released_address_is_the_last_to_come_again() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    (1..=6).for_each(|number| drop(server.created(number)));
    let failure = server.ask(create(7, None)).unwrap_err();
    assert!(matches!(failure, Failure::Pool(PoolError::Exhausted { .. })), "{failure}");
    server.ask(Command::Delete(lb(3))).unwrap();
    server.ask(Command::Delete(lb(1))).unwrap();
    let mut server = Server::start(&sim).unwrap();
    assert_eq!(server.created(8).vips.first(), vip(87));
    assert_eq!(server.created(9).vips.first(), vip(85));
    server.check();
}

/// The kernel tells of what slb itself did, too, and maybe after all is over.
#[test]
fn late_news_of_a_deleted_vip_does_not_keep_its_address() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let Ok(Answer::LoadBalancer(created)) = server.ask(create(1, Some(vip(85)))) else { panic!("not created") };
    server.ask(Command::Delete(created.id)).unwrap();
    let address = vip(85).address();
    server.events(&[HostEvent::AddressAdded(address)]);
    assert!(matches!(server.ask(create(2, Some(vip(85)))), Err(Failure::Pool(_))));
    server.events(&[HostEvent::AddressRemoved(address)]);
    server.ask(create(3, Some(vip(85)))).unwrap();
    server.check();
}

#[test]
fn an_address_that_answers_is_set_aside() {
    let sim = Sim::default();
    sim.with(|remains| remains.neighbours.insert(vip(85), "02:00:00:00:00:01".to_owned()));
    let mut server = Server::start(&sim).unwrap();
    assert_eq!(server.created(1).vips.first(), vip(86));
    let failure = server.ask(create(2, Some(vip(85)))).unwrap_err();
    assert!(matches!(failure, Failure::Pool(_)), "{failure}");
    sim.with(|remains| remains.neighbours.clear());
    server.pass(super::avoid::SET_ASIDE_FOR + INTERVAL);
    assert!(server.ask(create(3, Some(vip(85)))).is_ok());
    server.check();
}

#[test]
fn one_vip_carries_load_balancers_on_several_ports() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let mut second = create(2, Some(vip(88)));
    if let Command::Create(new) = &mut second {
        new.listen = port(80).into();
    }
    let (_, answers) = server.ask_all(vec![create(1, Some(vip(88))), second, create(3, Some(vip(88)))]);
    let outcome: Vec<bool> = answers.iter().map(|answer| answer.as_ref().unwrap().is_ok()).collect();
    assert_eq!(outcome, [true, true, false]);
    server.check();
    server.ask(Command::Delete(lb(1))).unwrap();
    assert!(sim.with(|remains| remains.kernel.host.bound.contains(&vip(88))));
    server.check();
}

#[test]
fn a_service_of_another_program_is_neither_taken_nor_touched() {
    let sim = Sim::default();
    let foreign = Endpoint::tcp(vip(85), port(6443));
    sim.with(|remains| {
        remains.kernel.services.insert(foreign.into(), ServiceView::default());
        remains.kernel.host.bound.insert(vip(86));
    });
    let mut server = Server::start(&sim).unwrap();
    assert_eq!(server.created(1).vips.first(), vip(87));
    server.ask(Command::Delete(lb(1))).unwrap();
    server.pass(INTERVAL);
    sim.with(|remains| {
        assert_eq!(remains.kernel.services.len(), 1);
        assert_eq!(remains.kernel.services[&foreign.into()].settings, None);
        assert!(remains.kernel.host.bound.contains(&vip(86)));
    });
}

#[test]
fn a_service_that_came_during_the_probe_is_not_taken_over() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    for (wanted, found) in [(None, Some(vip(86))), (Some(vip(87)), None)] {
        let (answer, mut answered) = oneshot::channel();
        let command = create(1, wanted);
        let request = Request { wish: command.into(), terms: Terms::default(), span: Span::none(), answer };
        server.controller.handle(vec![request], server.now).now_or_never().unwrap();
        let foreign = Endpoint::tcp(wanted.unwrap_or(vip(85)), port(6443));
        sim.with(|remains| remains.kernel.services.insert(foreign.into(), ServiceView::default()));
        while !server.controller.inquiries.is_empty() {
            let learned = server.controller.next_learned().now_or_never().unwrap();
            server.controller.learned(learned, server.now).now_or_never().unwrap();
        }
        match (answered.try_recv().unwrap().unwrap(), found) {
            (Ok(Answer::LoadBalancer(created)), Some(vip)) => assert_eq!(created.vips.first(), vip),
            (Err(Failure::Foreign(endpoint)), None) => assert_eq!(endpoint, foreign),
            (other, _) => panic!("{other:?}"),
        }
        assert!(sim.with(|remains| !remains.log.iter().any(|step| step.vip() == foreign.vip)));
    }
}

#[test]
fn a_backend_that_means_all_hosts_is_refused() {
    let sim = Sim::default();
    sim.with(|remains| remains.kernel.host.broadcasts.insert(Ipv4Addr::new(10, 0, 0, 9).into()));
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    let mut second = create(2, None);
    if let Command::Create(new) = &mut second {
        new.backends = Some(vec![backend(1), backend(9)]);
    }
    for command in [Command::AddBackends(lb(1), vec![backend(9)]), second] {
        let failure = server.ask(command).unwrap_err();
        assert!(matches!(failure, Failure::Rejected(Rejected::Unfit { why: Unfit::IsBroadcast, .. })), "{failure}");
        server.check();
    }
}

#[test]
fn damage_that_was_not_seen_yet_fails_no_request() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    sim.with(|remains| remains.kernel.services.clear());
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    server.check();
}

#[test]
fn damage_from_outside_is_repaired_at_once_or_at_the_interval() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let endpoint = endpoint(&server.created(1));
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    sim.with(|remains| {
        remains.kernel.host.bound.clear();
        remains.log.clear();
    });
    server.events(&[HostEvent::AddressRemoved(vip(85).address())]);
    server.check();
    let log: Vec<String> = sim.with(|remains| remains.log.iter().map(ToString::to_string).collect());
    assert_eq!(log, ["bind 192.168.0.85", "advertise 192.168.0.85"]);

    sim.with(|remains| {
        remains.kernel.services.clear();
        remains.kernel.host.source_nat.clear();
    });
    server.pass(INTERVAL);
    server.check();

    sim.with(|remains| {
        let service = remains.kernel.services.get_mut(&endpoint.into()).unwrap();
        service.settings = None;
        service.backends.insert(backend(9).target, None);
        service
            .backends
            .insert(backend(1).target, Some(BackendSettings { weight: Weight::from(7), ..BackendSettings::default() }));
    });
    server.pass(INTERVAL);
    server.check();

    sim.with(|remains| remains.log.clear());
    server.events(&[HostEvent::LinkDown, HostEvent::LinkUp]);
    let log: Vec<String> = sim.with(|remains| remains.log.iter().map(ToString::to_string).collect());
    assert_eq!(log, ["advertise 192.168.0.85"]);
}

#[test]
fn a_restart_with_nothing_changed_changes_nothing() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    (1..=3).for_each(|number| drop(server.created(number)));
    server.ask(Command::AddBackends(lb(2), vec![backend(1)])).unwrap();
    sim.with(|remains| remains.log.clear());
    let server = Server::start(&sim).unwrap();
    server.check();
    let log = sim.with(|remains| remains.log.clone());
    assert!(log.iter().all(|step| matches!(step, Step::Advert(_))), "{log:?}");
}
