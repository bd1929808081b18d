// SPDX-License-Identifier: Apache-2.0
//! What needs privileges, on a real kernel: changes, and who hears of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use netlink::{Event, KernelError, Monitor, Request, Socket, protocols::NETLINK_ROUTE};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Message,
    address::{AddressAttribute, AddressMessage},
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
};
use slb_lab::Node;

/// `RTNLGRP_IPV4_IFADDR`
const ADDRESSES: u32 = 5;
/// Of the loopback adapter.
const LO: u32 = 1;
/// More than a pack, and more than a receive buffer holds announcements of.
const MANY: u32 = 30_000;

/// Runs on a host of its own, on a thread and runtime of its own.
fn on_a_host<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    Node::new("host").inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

fn address(n: u32) -> AddressMessage {
    let ip = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n));
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.index = LO;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

fn new(n: u32) -> Request<Message> {
    Request::new(Message::NewAddress(address(n)), NLM_F_CREATE | NLM_F_EXCL)
}

fn del(n: u32) -> Request<Message> {
    Message::DelAddress(address(n)).into()
}

async fn accepted(socket: &mut Socket<Message>, requests: impl Iterator<Item = Request<Message>>) {
    let verdicts = socket.transact(requests).await.unwrap();
    assert!(verdicts.iter().all(Result::is_ok));
}

fn refusals_belong_to_their_requests() {
    on_a_host(async || {
        let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
        // Every third is there already when its turn comes.
        let requests = (0..9_000).map(|n| new(if n % 3 == 2 { n - 1 } else { n }));
        let verdicts = socket.transact(requests).await.unwrap();
        let errnos: Vec<_> =
            verdicts.iter().map(|verdict| verdict.as_ref().map_or_else(KernelError::errno, |()| 0)).collect();
        let expected: Vec<_> = (0..9_000).map(|n| if n % 3 == 2 { libc::EEXIST } else { 0 }).collect();
        assert_eq!(errnos, expected);
    });
}

fn the_kernels_own_words_are_passed_on() {
    on_a_host(async || {
        let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
        let mut link = LinkMessage::default();
        let kind = LinkInfo::Kind(InfoKind::Other("no-such-kind".into()));
        link.attributes = vec![LinkAttribute::IfName("odd0".into()), LinkAttribute::LinkInfo(vec![kind])];
        let verdicts = socket.transact([Request::new(Message::NewLink(link), NLM_F_CREATE)]).await.unwrap();
        let error = verdicts[0].as_ref().unwrap_err();
        assert_eq!((error.errno(), error.message()), (libc::EOPNOTSUPP, Some("Unknown device type")));
        assert_eq!(error.to_string(), "Operation not supported (os error 95): Unknown device type");
    });
}

fn a_monitor_hears_of_every_change_although_it_is_dropped_in_between() {
    on_a_host(async || {
        let mut monitor = Monitor::<Message>::open(NETLINK_ROUTE, &[ADDRESSES]).unwrap();
        let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
        for n in 0..200 {
            // Waits for what has not happened yet, and is dropped.
            assert!(tokio::time::timeout(Duration::ZERO, monitor.next()).await.is_err());
            accepted(&mut socket, [new(n), del(n)].into_iter()).await;
            for _ in 0..2 {
                let event = monitor.next().await.unwrap();
                let Event::Message(Message::NewAddress(heard) | Message::DelAddress(heard)) = event else {
                    panic!("{event:?}")
                };
                assert!(heard.attributes.contains(&address(n).attributes[0]), "{heard:?}");
            }
        }
    });
}

fn a_monitor_says_when_it_missed_something_and_goes_on() {
    on_a_host(async || {
        let mut monitor = Monitor::<Message>::open(NETLINK_ROUTE, &[ADDRESSES]).unwrap();
        let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
        accepted(&mut socket, (0..MANY).flat_map(|n| [new(n), del(n)])).await;
        let mut heard = 0;
        while monitor.next().await.unwrap() != Event::Overrun {
            heard += 1;
        }
        assert!(heard < 2 * MANY);
        // From then on nothing is missing.
        for n in 0..100 {
            accepted(&mut socket, [new(n)].into_iter()).await;
            let event = monitor.next().await.unwrap();
            let Event::Message(Message::NewAddress(heard)) = event else { panic!("{event:?}") };
            assert!(heard.attributes.contains(&address(n).attributes[0]), "{heard:?}");
        }
    });
}

fn a_long_dump_is_whole() {
    on_a_host(async || {
        let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
        accepted(&mut socket, (0..5_000).map(new)).await;
        let mut ask = AddressMessage::default();
        ask.header.family = AddressFamily::Inet;
        let mut seen = std::collections::BTreeSet::new();
        let each = |message| {
            let Message::NewAddress(one) = message else { panic!("{message:?}") };
            seen.extend(
                one.attributes
                    .iter()
                    .find_map(|attribute| if let AddressAttribute::Local(ip) = attribute { Some(*ip) } else { None }),
            );
        };
        socket.dump(Message::GetAddress(ask), each).await.unwrap();
        seen.remove(&IpAddr::from(Ipv4Addr::LOCALHOST));
        let expected = (0..5_000).map(|n| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n))).collect();
        assert_eq!(seen, expected);
    });
}

slb_lab::main! {
    fast: [
        refusals_belong_to_their_requests,
        the_kernels_own_words_are_passed_on,
        a_monitor_hears_of_every_change_although_it_is_dropped_in_between,
        a_monitor_says_when_it_missed_something_and_goes_on,
        a_long_dump_is_whole,
    ],
}
