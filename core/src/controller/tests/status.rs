// SPDX-License-Identifier: Apache-2.0
//! What readers are told of how load-balancers are doing.

use futures_util::StreamExt;

use super::*;
use crate::{
    events::{Event, Heard, Reader},
    model::{LoadBalancerId, Phase},
    status::{News, Status},
};

/// Everything new, without the times.
pub(super) fn news(reader: &mut Reader) -> Vec<Event> {
    let mut news = Vec::new();
    while let Some(Some(heard)) = reader.next().now_or_never() {
        if let Heard::Event(_, entry) = heard {
            news.push(entry.event.clone());
        }
    }
    news
}

pub(super) fn listening(server: &Server) -> Reader {
    let mut reader = server.board.journal().read(None);
    assert_eq!(news(&mut reader), []);
    reader
}

fn status(server: &Server, id: LoadBalancerId) -> Arc<Status> {
    server.board.look(id).unwrap().status
}

fn bare(of: &LoadBalancer) -> Arc<LoadBalancer> {
    Arc::new(LoadBalancer { backends: None, ..of.clone() })
}

#[test]
fn everything_is_told_in_the_order_in_which_it_happens() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let mut reader = listening(&server);
    let created = server.created(1);
    let id = created.id;
    let status_of = |news| Event::Status(id, news);
    assert_eq!(
        news(&mut reader),
        [Event::Created(bare(&created)), status_of(News::Programmed(None)), status_of(News::Advertised(vip(85)))]
    );

    let added = backend(1);
    server.ask(Command::AddBackends(id, vec![added.clone()])).unwrap();
    let programmed = status_of(News::Programmed(Some(added.id)));
    assert_eq!(news(&mut reader), [Event::BackendAdded(id, added.clone().into()), programmed]);

    let change = BackendChange { weight: Some(Weight::from(7)), ..BackendChange::default() };
    server.ask(Command::UpdateBackend(id, added.id, change)).unwrap();
    let changed = added.clone().with_settings(BackendSettings { weight: Weight::from(7), ..added.settings() });
    assert_eq!(news(&mut reader), [Event::BackendChanged(id, changed.into())]);

    let replaced = server.ask(Command::ReplaceBackends(id, vec![backend(2), backend(3)]));
    assert!(matches!(replaced, Ok(Answer::LoadBalancer(_))));
    let [two, three] = [2, 3].map(backend);
    assert_eq!(
        news(&mut reader),
        [
            Event::BackendAdded(id, two.clone().into()),
            Event::BackendAdded(id, three.clone().into()),
            Event::BackendRemoved(id, added.id),
            status_of(News::Programmed(Some(two.id))),
            status_of(News::Programmed(Some(three.id))),
        ]
    );

    server.ask(Command::Delete(id)).unwrap();
    let told = news(&mut reader);
    assert!(matches!(&told[0], Event::Changed(going) if going.phase == Phase::Deleting), "{told:?}");
    assert_eq!(told[1..], [Event::Deleted(id)]);
    server.pass(INTERVAL);
    assert_eq!(news(&mut reader), []);
}

#[test]
fn what_the_kernel_refuses_is_told_with_the_reason_until_it_is_put_right() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let created = server.created(1);
    let (id, endpoint) = (created.id, endpoint(&created));
    server.ask(Command::AddBackends(id, vec![backend(1)])).unwrap();
    let all_is_well = status(&server, id);
    assert!(all_is_well.programmed().holds() && all_is_well.advertised().holds());
    assert!(all_is_well.backend(backend(1).id).unwrap().programmed.holds());
    let mut reader = listening(&server);

    // Somebody takes the backend out, and the kernel does not take it back.
    let add = DataplaneStep::AddBackend(endpoint.into(), backend(1).target, BackendSettings::default());
    sim.with(|remains| {
        remains.kernel.services.get_mut(&endpoint.into()).unwrap().backends = Backends::default();
        remains.broken = vec![(Step::Dataplane(add), true)];
    });
    server.pass(INTERVAL);
    let told = news(&mut reader);
    let [Event::Status(_, News::Failed(Some(of), why))] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*of, backend(1).id);
    assert!(why.contains("could not add backend 10.0.0.1:80") && why.contains("broken for now"), "{why}");
    assert!(status(&server, id).programmed().holds());
    assert_eq!(status(&server, id).backend(*of).unwrap().programmed.why_not.as_ref(), Some(why));

    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    assert_eq!(news(&mut reader), [Event::Status(id, News::Programmed(Some(backend(1).id)))]);
    let put_right = status(&server, id);
    let programmed = &put_right.backend(backend(1).id).unwrap().programmed;
    assert_eq!((programmed.holds(), programmed.since), (true, clock()));
    assert!(put_right.vips().eq(all_is_well.vips()));
}

#[test]
fn a_vip_that_cannot_be_bound_again_is_neither_programmed_nor_advertised() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let created = server.created(1);
    let mut reader = listening(&server);
    let vip = created.vips.first();
    sim.with(|remains| {
        remains.kernel.host.bound.clear();
        remains.broken = vec![(Step::Host(HostStep::Bind(vip)), true)];
    });
    server.events(&[HostEvent::AddressRemoved(vip.address())]);
    let told = news(&mut reader);
    let [Event::Status(_, News::Failed(None, why)), Event::Status(_, News::Withdrawn(..))] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(why.contains("could not bind"), "{why}");
    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    let expected = [News::Programmed(None), News::Advertised(vip)].map(|news| Event::Status(created.id, news));
    assert_eq!(news(&mut reader), expected);
}

#[test]
fn without_a_place_to_send_connections_the_reason_is_said() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let created = server.created(1);
    let mut reader = listening(&server);
    let change = LoadBalancerChange { advertise: Some(Advertise::WithBackends), ..LoadBalancerChange::default() };
    server.ask(Command::Update(created.id, change)).unwrap();
    let why: Arc<str> = "no backend takes connections".into();
    let told = news(&mut reader);
    assert!(matches!(&told[0], Event::Changed(_)), "{told:?}");
    assert_eq!(told[1..], [Event::Status(created.id, News::Withdrawn(vip(85), Arc::clone(&why)))]);
    assert_eq!(status(&server, created.id).advertised().why_not, Some(why));
}

#[test]
fn a_creation_that_is_undone_is_told_of_to_its_end() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let mut reader = listening(&server);
    let endpoint = Endpoint::tcp(vip(85), port(6443));
    let add = DataplaneStep::AddService(endpoint.into(), ServiceSettings::default());
    sim.with(|remains| remains.broken = vec![(Step::Dataplane(add), false)]);
    assert!(server.ask(create(1, None)).is_err());
    let told = news(&mut reader);
    assert!(matches!(&told[0], Event::Created(_)), "{told:?}");
    assert!(matches!(&told[1], Event::Status(_, News::Failed(None, _))), "{told:?}");
    assert!(matches!(&told[2], Event::Changed(going) if going.phase == Phase::Deleting), "{told:?}");
    assert_eq!(told[3..], [Event::Deleted(lb(1))]);
}

#[test]
fn what_holds_up_a_deletion_is_told() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let created = server.created(1);
    let mut reader = listening(&server);
    let remove = DataplaneStep::RemoveService(endpoint(&created).into());
    sim.with(|remains| remains.broken = vec![(Step::Dataplane(remove), true)]);
    assert!(server.ask(Command::Delete(created.id)).is_err());
    let told = news(&mut reader);
    let [Event::Changed(_), Event::Status(_, News::Failed(None, why)), Event::Status(_, News::Withdrawn(_, gone))] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(why.contains("could not remove service"), "{why}");
    assert_eq!(&**gone, "it is being deleted");
    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    assert_eq!(news(&mut reader), [Event::Deleted(created.id)]);
}

#[test]
fn a_start_is_no_news_of_what_was_there() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let id = server.created(1).id;
    drop(server);
    let board = Arc::new(Board::default());
    let disk = sim.with(|remains| remains.disk.clone());
    let now = Instant::now();
    let mut reader = board.journal().read(None);
    assert_eq!(news(&mut reader), []);
    let mut controller = Controller::new(drivers(&sim, &[vip(85)]), disk, Arc::clone(&board), INTERVAL, now).unwrap();
    assert_eq!(news(&mut reader), []);
    assert!(!board.look(id).unwrap().status.programmed().holds());
    controller.reconcile(now).now_or_never().unwrap();
    assert_eq!(
        news(&mut reader),
        [News::Programmed(None), News::Advertised(vip(85))].map(|news| Event::Status(id, news))
    );
}
