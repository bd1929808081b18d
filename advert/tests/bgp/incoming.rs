// SPDX-License-Identifier: Apache-2.0
//! Peers that connect, alone or while the speaker does.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use slb_advert::bgp::{Bgp, Listener};
use slb_core::{peer::PeerSettings, ports::Advertiser, routing::PeerState, step::AdvertStep::Advertise};

use crate::{Bird, Gobgp, OWN, Peer, ROUTERS, Site, error, established, greeting, peer, peer_of, until, vip};

fn listen(bgp: &Bgp, at: &str) {
    bgp.listen(Listener::open(at.parse().unwrap()).unwrap()).unwrap();
}

fn passive(text: &str) -> Peer {
    Peer { settings: PeerSettings { passive: Some(true), ..PeerSettings::default() }, ..peer_of(text) }
}

/// By IPv4 and IPv6, with a password and without.
pub fn peers_that_connect_get_the_routes() {
    for (own, router, password) in [
        ("0.0.0.0:179", "10.0.0.254", None),
        ("10.0.0.1:179", "10.0.0.254", Some("secret")),
        ("[::]:179", "fd00::fe", None),
        ("[fd00::1]:179", "fd00::fe", Some("secret")),
    ] {
        let site = Site::new();
        site.speak(async |mut bgp| {
            listen(&bgp, own);
            bgp.apply(&[Advertise(vip(1))]).await;
            let text = if router.contains(':') { format!("[{router}]:65530") } else { format!("{router}:65530") };
            let text = password.map_or(text.clone(), |password| format!("{text}:{password}"));
            bgp.add_peer(passive(&text));
            assert_eq!(peer(&bgp, router).last_error, None);
            until("that it waits", || (peer(&bgp, router).state == PeerState::Active).then_some(())).await;
            let bird = Bird::start(&site.router, router, OWN, ROUTERS, password);
            established(&bgp, router).await;
            until("the route", || (!site.routes().is_empty()).then_some(())).await;
            drop(bird);
            error(&bgp, router, "").await;
            assert_eq!(peer(&bgp, router).state, PeerState::Active);
            let _bird = Bird::start(&site.router, router, OWN, ROUTERS, password);
            established(&bgp, router).await;
        });
    }
}

/// Whoever connects first, one session stands, and stays.
pub fn both_ends_may_connect() {
    for (identifier, start) in [("10.0.0.1", false), ("10.0.0.255", false), ("10.0.0.1", true), ("10.0.0.255", true)] {
        let site = Site::new();
        site.speak_as(identifier, async |mut bgp| {
            listen(&bgp, "0.0.0.0:179");
            bgp.apply(&[Advertise(vip(1))]).await;
            let words =
                "local 10.0.0.254 as 65530; neighbor 10.0.0.1 as 65000; connect delay time 1; connect retry time 1;";
            let before = start.then(|| Bird::run(&site.router, words));
            bgp.add_peer(peer_of("10.0.0.254:65530"));
            let _bird = before.unwrap_or_else(|| Bird::run(&site.router, words));
            established(&bgp, "10.0.0.254").await;
            until("the route", || (!site.routes().is_empty()).then_some(())).await;
            // It would have gone by the time the next one can have been announced.
            bgp.apply(&[Advertise(vip(2))]).await;
            until("the other route", || (site.routes().len() == 2).then_some(())).await;
            assert_eq!(peer(&bgp, "10.0.0.254").state, PeerState::Established);
        });
    }
}

/// When both connect at once, the connection of the higher identifier stays (RFC 4271, section 6.8), and the other end learns why the
/// other one went.
pub fn of_two_connections_one_stays() {
    for (identifier, ours_stays) in [("10.0.0.1", false), ("10.0.0.255", true)] {
        let site = Site::new();
        let listener = site.router.inside(|| TcpListener::bind("10.0.0.254:179").unwrap());
        let (router, connect) = (&site.router, || TcpStream::connect("10.0.0.1:179").unwrap());
        std::thread::scope(|scope| {
            let (seen, both) = tokio::sync::oneshot::channel();
            scope.spawn(move || {
                let mut ours = listener.accept().unwrap().0;
                let mut theirs = router.inside(connect);
                for mut stream in [&ours, &theirs] {
                    stream.write_all(&greeting()[..29]).unwrap();
                }
                let (stays, goes) = if ours_stays { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
                let mut said = Vec::new();
                let _ = goes.read_to_end(&mut said);
                assert!(said.ends_with(&[0, 21, 3, 6, 7]), "{said:?}");
                stays.write_all(&greeting()[29..]).unwrap();
                let _ = seen.send(());
                let _ = stays.read_to_end(&mut Vec::new());
            });
            site.speak_as(identifier, async |bgp| {
                listen(&bgp, "0.0.0.0:179");
                bgp.add_peer(peer_of("10.0.0.254:65530"));
                both.await.unwrap();
                established(&bgp, "10.0.0.254").await;
                bgp.leave("");
            });
        });
    }
}

/// A router that has lost its power says nothing; when it is back, it connects, and is heard at once.
pub fn a_router_that_restarted_is_heard_at_once() {
    let site = Site::new();
    site.speak(async |mut bgp| {
        listen(&bgp, "0.0.0.0:179");
        bgp.apply(&[Advertise(vip(1))]).await;
        bgp.add_peer(passive("10.0.0.254:65530"));
        let bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
        established(&bgp, "10.0.0.254").await;
        until("the route", || (!site.routes().is_empty()).then_some(())).await;
        let before = peer(&bgp, "10.0.0.254").times_established;
        // Nothing more is heard of the old connection, not even that it ended.
        // The one to port 179 of 10.0.0.1, as the kernel writes it.
        let table = site.router.sh("cat /proc/net/tcp");
        let line = table.lines().find(|line| line.contains(" 0100000A:00B3 01 ")).unwrap();
        let (_, port) = line.split_whitespace().nth(1).unwrap().split_once(':').unwrap();
        let port = u16::from_str_radix(port, 16).unwrap();
        site.router.sh(&format!("iptables-legacy -A OUTPUT -p tcp --sport {port} -j DROP"));
        drop(bird);
        let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
        until("another session", || (peer(&bgp, "10.0.0.254").times_established > before).then_some(())).await;
    });
}

/// What stood before a restart ends without a word: the router could take one for an end, and drop its routes (RFC 4724).
pub fn a_router_that_restarted_hears_nothing_on_the_old_connection() {
    let site = Site::new();
    let (router, connect) = (&site.router, || TcpStream::connect("10.0.0.1:179").unwrap());
    // The greeting with the capability of graceful restart, for 120 s.
    let open = [&greeting()[..17], &[35, 1, 4, 0xff, 0xfa, 0, 90, 10, 0, 0, 254, 6, 2, 4, 64, 2, 0, 120]].concat();
    let (sender, stands) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        site.speak(async |bgp| {
            listen(&bgp, "0.0.0.0:179");
            bgp.add_peer(passive("10.0.0.254:65530"));
            let whole = [&open, &greeting()[29..]].concat();
            let router = scope.spawn(move || {
                let mut before = router.inside(connect);
                before.write_all(&whole).unwrap();
                stands.blocking_recv().unwrap();
                let mut after = router.inside(connect);
                after.write_all(&whole).unwrap();
                let mut said = Vec::new();
                let _ = before.read_to_end(&mut said);
                (said, after)
            });
            established(&bgp, "10.0.0.254").await;
            sender.send(()).unwrap();
            until("the end of the old connection", || router.is_finished().then_some(())).await;
            let (said, _after) = router.join().unwrap();
            assert!(!said.windows(5).any(|part| part == [0, 21, 3, 6, 7]), "{said:?}");
            established(&bgp, "10.0.0.254").await;
        });
    });
}

/// Before passwords are known, a connection would be one that nobody has signed.
pub fn nobody_connects_before_the_beginning() {
    let site = Site::new();
    let connect = || site.router.inside(|| TcpStream::connect("10.0.0.1:179"));
    site.prepare("10.0.0.1", async |bgp| {
        listen(&bgp, "0.0.0.0:179");
        bgp.add_peer(passive("10.0.0.254:65530"));
        assert!(connect().is_err());
        bgp.begin();
        until("that it listens", || connect().ok()).await;
    });
}

/// Whoever asks for all routes again and again, and reads none, gets them once it does: what waits does not grow.
pub fn asking_again_and_again_fills_no_memory() {
    const TIMES: u64 = 10_000;
    let site = Site::new();
    let (router, connect) = (&site.router, || TcpStream::connect("10.0.0.1:179").unwrap());
    let refresh = [&greeting()[..17], &[23, 5, 0, 1, 0, 1]].concat();
    std::thread::scope(|scope| {
        site.speak(async |mut bgp| {
            listen(&bgp, "0.0.0.0:179");
            bgp.apply(&[Advertise(vip(1))]).await;
            bgp.add_peer(passive("10.0.0.254:65530"));
            let (enough, end) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let mut stream = router.inside(connect);
                stream.write_all(&greeting()).unwrap();
                stream.write_all(&refresh.repeat(usize::try_from(TIMES).unwrap())).unwrap();
                let _ = end.recv();
            });
            let asked = || (peer(&bgp, "10.0.0.254").traffic.received.route_refresh == TIMES).then_some(());
            until("all requests", asked).await;
            let sent = peer(&bgp, "10.0.0.254").traffic.sent.update;
            assert!((2..TIMES / 10).contains(&sent), "{sent}");
            drop(enough);
        });
    });
}

/// Who is no peer is told so, and a peer that is to connect but cannot is shown, and not heard: what seems to be from it is not signed.
pub fn strangers_are_refused() {
    let site = Site::new();
    site.speak(async |bgp| {
        bgp.add_peer(passive("10.0.0.254:65530"));
        assert!(peer(&bgp, "10.0.0.254").last_error.is_some_and(|why| why.contains("--bgpListen")));
        listen(&bgp, "0.0.0.0:179");
        let is_refused = async || {
            let stranger = site.router.inside(|| TcpStream::connect("10.0.0.1:179").unwrap());
            stranger.set_nonblocking(true).unwrap();
            let mut said = Vec::new();
            until("a NOTIFICATION", || {
                let _ = (&stranger).read_to_end(&mut said);
                said.ends_with(&[3, 6, 5]).then_some(())
            })
            .await;
        };
        is_refused().await;
        bgp.remove_peer(peer_of("10.0.0.254:65530").address);
        is_refused().await;
    });
}

/// Another implementation that waits, too: slb connects to it although it listens itself.
pub fn who_listens_connects_as_well() {
    let site = Site::new();
    let _gobgp = Gobgp::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    site.speak(async |bgp| {
        listen(&bgp, "0.0.0.0:179");
        bgp.add_peer(peer_of("10.0.0.254:65530"));
        established(&bgp, "10.0.0.254").await;
    });
}
