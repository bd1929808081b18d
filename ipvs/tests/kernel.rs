// SPDX-License-Identifier: Apache-2.0
//! The client on real kernels, each test in a network namespace of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    time::Duration,
};

use caps::{CapSet, Capability};
use ipvs::{
    Client, Daemon, DaemonRole, Destination, Error, Family, Forward, Info, Name, Netmask, Persistence, Request,
    Service, ServiceFlags, ServiceId, Timeouts, Tunnel, Version, scheduler,
};
use slb_lab::{Node, Segment};

/// Runs on a host, on a thread and runtime of its own, with a client.
fn on<T: Send>(node: &Node, work: impl AsyncFnOnce(&mut Client) -> T + Send) -> T {
    node.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { work(&mut Client::open().await.unwrap()).await })
    })
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn web() -> ServiceId {
    ServiceId::tcp(ip("10.0.0.1"), 80)
}

async fn accepted(client: &mut Client, requests: &[Request]) {
    let verdicts = client.batch(requests).await.unwrap();
    assert_eq!(verdicts.len(), requests.len());
    for (request, verdict) in requests.iter().zip(verdicts) {
        assert_eq!(verdict, Ok(()), "{request}");
    }
}

/// What the kernel has, as lines of `ipvsadm -S`.
async fn lines(client: &mut Client) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let each = |service: ipvs::ObservedService, destinations: Vec<ipvs::ObservedDestination>| {
        let id = *service.id();
        lines.insert(Request::NewService(service.as_requested().clone()).to_string());
        lines.extend(destinations.iter().map(|one| Request::NewDestination(id, *one.as_requested()).to_string()));
    };
    client.each(each).await.unwrap();
    lines
}

fn ipvsadm(node: &Node) -> BTreeSet<String> {
    node.run("ipvsadm", &["-Sn"]).lines().map(|line| line.trim().to_owned()).collect()
}

/// Every kind of service there is.
fn services() -> Vec<Service> {
    let (v4, v6) = (ip("10.0.0.1"), ip("fd00::1"));
    let plain = |id| Service::new(id, scheduler::WRR);
    let flags = |id, scheduler, flags| Service { flags, ..Service::new(id, scheduler) };
    let kept = |id, timeout, netmask| Service { persistence: Some(Persistence { timeout, netmask }), ..plain(id) };
    let fwmark = |mark, family| plain(ServiceId::Fwmark { mark, family });
    // twos is not in every kernel of the lab.
    let schedulers = scheduler::ALL.iter().filter(|name| **name != scheduler::TWOS).zip(1000..);
    let mut services: Vec<_> =
        schedulers.map(|(name, port)| Service::new(ServiceId::tcp(v4, port), name.clone())).collect();
    services.extend([
        plain(ServiceId::tcp(v4, 80)),
        plain(ServiceId::udp(v4, 80)),
        plain(ServiceId::sctp(v4, 80)),
        plain(ServiceId::tcp(v6, 80)),
        plain(ServiceId::udp(v6, 80)),
        plain(ServiceId::sctp(v6, 80)),
        fwmark(1, Family::Inet),
        fwmark(1, Family::Inet6),
        fwmark(u32::MAX, Family::Inet),
        kept(ServiceId::tcp(v4, 0), 300, Netmask::single(Family::Inet)),
        kept(ServiceId::tcp(v4, 81), 60, Netmask::V4(Ipv4Addr::new(255, 255, 0, 0))),
        kept(ServiceId::tcp(v6, 81), 60, Netmask::single(Family::Inet6)),
        kept(ServiceId::tcp(v6, 82), 60, Netmask::V6(64)),
        flags(ServiceId::udp(v4, 83), scheduler::RR, ServiceFlags::ONE_PACKET),
        flags(ServiceId::tcp(v4, 84), scheduler::SH, ServiceFlags::SH_FALLBACK),
        flags(ServiceId::tcp(v4, 85), scheduler::MH, ServiceFlags::SH_FALLBACK | ServiceFlags::SH_PORT),
        flags(ServiceId::tcp(v4, 86), scheduler::RR, ServiceFlags::SCHED1 | ServiceFlags::SCHED3),
        Service { engine: Some(name("sip")), ..kept(ServiceId::udp(v4, 5060), 60, Netmask::single(Family::Inet)) },
    ]);
    services
}

/// Every kind of destination there is, of IPv4 services.
fn destinations() -> Vec<Destination> {
    let to = |n: u8, forward| Destination::new(Ipv4Addr::new(10, 0, 1, n).into(), 8080, forward);
    let tunnel = |n, tunnel| to(n, Forward::Tunnel(tunnel));
    vec![
        to(1, Forward::Masquerade),
        to(2, Forward::Local),
        to(3, Forward::DirectRoute),
        to(4, Forward::Bypass),
        tunnel(5, Tunnel::IPIP),
        tunnel(6, Tunnel::GRE),
        tunnel(7, Tunnel { flags: Tunnel::CHECKSUM, ..Tunnel::GRE }),
        tunnel(8, Tunnel::gue(6080)),
        tunnel(9, Tunnel { flags: Tunnel::CHECKSUM, ..Tunnel::gue(6081) }),
        tunnel(10, Tunnel { flags: Tunnel::REMOTE_CHECKSUM, ..Tunnel::gue(6082) }),
        Destination::new(ip("fd00::9"), 8080, Forward::Tunnel(Tunnel::IPIP)),
        Destination { weight: 0, ..to(11, Forward::Masquerade) },
        Destination { weight: i32::MAX as u32, ..to(12, Forward::Masquerade) },
        Destination { upper_threshold: 100, lower_threshold: 7, ..to(13, Forward::Masquerade) },
        Destination { upper_threshold: i32::MAX as u32, ..to(14, Forward::Masquerade) },
    ]
}

/// Comes first, as long as nothing has loaded the module.
fn a_kernel_without_ipvs_says_so() {
    const MODPROBE: &str = "/proc/sys/kernel/modprobe";
    assert!(!fs::exists("/sys/module/ip_vs").unwrap(), "loaded already");
    let modprobe = fs::read_to_string(MODPROBE).unwrap();
    fs::write(MODPROBE, "/bin/false").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(Client::open()).unwrap_err();
    fs::write(MODPROBE, modprobe.trim()).unwrap();
    assert_eq!(error.to_string(), "kernel has no IPVS (module ip_vs)");
    assert!(!error.not_found(), "not to be taken for a missing service");
}

fn every_service_is_read_back_as_it_was_asked_for() {
    let node = Node::new("lb");
    on(&node, async |client| {
        let new: Vec<_> = services().into_iter().map(Request::NewService).collect();
        accepted(client, &new).await;
        let asked: BTreeMap<_, _> = services().into_iter().map(|service| (service.id, service)).collect();
        let observed = client.services().await.unwrap();
        assert!(observed.iter().all(|service| service.hashed && service.other.is_empty()));
        let observed: BTreeMap<_, _> = observed.iter().map(|one| (*one.id(), one.as_requested().clone())).collect();
        assert_eq!(observed, asked);
        for (id, service) in asked {
            assert_eq!(client.service(&id).await.unwrap().as_requested(), &service);
        }
        // ipvsadm prints marks as signed numbers.
        let ours: BTreeSet<_> =
            new.iter().map(|request| request.to_string().replace("-f 4294967295", "-f -1")).collect();
        assert_eq!(ipvsadm(&node), ours);

        // Everything but the identity changes.
        let changed = |service: Service| {
            let netmask = Netmask::single(service.id.family());
            Service {
                scheduler: scheduler::WLC,
                flags: ServiceFlags::SCHED2,
                persistence: Some(Persistence { timeout: 9, netmask }),
                engine: None,
                ..service
            }
        };
        let set: Vec<_> = services().into_iter().map(changed).map(Request::SetService).collect();
        accepted(client, &set).await;
        let ours: BTreeSet<_> = set.iter().map(|request| request.to_string().replacen("-E", "-A", 1)).collect();
        assert_eq!(lines(client).await, ours);

        let del: Vec<_> = services().iter().map(|service| Request::DelService(service.id)).collect();
        accepted(client, &del).await;
        assert_eq!(client.services().await.unwrap(), []);
    });
}

fn every_destination_is_read_back_as_it_was_asked_for() {
    let node = Node::new("lb");
    on(&node, async |client| {
        let mark = ServiceId::Fwmark { mark: 7, family: Family::Inet };
        let six = ServiceId::tcp(ip("fd00::1"), 80);
        let portless = Destination::new(ip("10.0.1.1"), 0, Forward::DirectRoute);
        let mut asked: Vec<_> = destinations().into_iter().map(|one| (web(), one)).collect();
        asked.push((mark, portless));
        asked.push((six, Destination::new(ip("fd00::2"), 8080, Forward::Masquerade)));
        asked.push((six, Destination::new(ip("10.0.1.1"), 8080, Forward::Tunnel(Tunnel::IPIP))));

        let mut new: Vec<_> =
            [web(), mark, six].map(|id| Service::new(id, scheduler::RR)).map(Request::NewService).into();
        new.extend(asked.iter().map(|(id, one)| Request::NewDestination(*id, *one)));
        accepted(client, &new).await;
        for id in [web(), mark, six] {
            let observed = client.destinations(&id).await.unwrap();
            assert!(observed.iter().all(|one| one.other.is_empty() && one.family() == Family::of(one.id().address)));
            let observed: BTreeSet<_> = observed.iter().map(|one| *one.as_requested()).collect();
            let asked: BTreeSet<_> = asked.iter().filter(|(of, _)| *of == id).map(|(_, one)| *one).collect();
            assert_eq!(observed, asked);
        }
        // ipvsadm says nothing of thresholds, takes Local for direct routing, and does not know Bypass.
        let unsaid = [(" -x 100 -y 7", ""), (" -x 2147483647", ""), (" -l -w", " -g -w"), (" -b -w", " (null) -w")];
        let heard = |line: String| unsaid.iter().fold(line, |line, (ours, theirs)| line.replace(ours, theirs));
        let ours: BTreeSet<_> = new.iter().map(|request| heard(request.to_string())).collect();
        assert_eq!(ipvsadm(&node), ours);

        let changed = |one: Destination| Destination {
            weight: 5,
            upper_threshold: 9,
            lower_threshold: 8,
            forward: Forward::Tunnel(Tunnel::gue(99)),
            ..one
        };
        let set: Vec<_> = asked.iter().map(|(id, one)| Request::SetDestination(*id, changed(*one))).collect();
        accepted(client, &set).await;
        for (id, one) in asked.iter() {
            let observed = client.destinations(id).await.unwrap();
            let found = observed.iter().find(|observed| *observed.id() == one.id).unwrap();
            assert_eq!(*found.as_requested(), changed(*one));
        }

        let del: Vec<_> = asked.iter().map(|(id, one)| Request::DelDestination(*id, one.id)).collect();
        accepted(client, &del).await;
        assert_eq!(lines(client).await.len(), 3);
    });
}

/// Which refusal belongs to which request, over several packs.
fn refusals_belong_to_their_requests() {
    let destination = |n: u32| Destination::new(Ipv4Addr::from_bits(0x0a01_0000 + n).into(), 80, Forward::Masquerade);
    on(&Node::new("lb"), async |client| {
        let elsewhere = ServiceId::udp(ip("10.9.9.9"), 9);
        let mut requests = vec![Request::NewService(Service::new(web(), scheduler::RR))];
        let mut expected = vec![0];
        for n in 0..6_000 {
            let (request, errno) = match n % 7 {
                1 => (Request::NewService(Service::new(web(), scheduler::RR)), libc::EEXIST),
                2 => (Request::DelService(elsewhere), libc::ESRCH),
                3 => (Request::NewDestination(elsewhere, destination(n)), libc::ESRCH),
                4 => (Request::DelDestination(web(), destination(n).id), libc::ENOENT),
                // Seldom, because the kernel starts modprobe for each.
                5 if n < 20 => (Request::NewService(Service::new(elsewhere, name("no-such"))), libc::ENOENT),
                5 => (Request::SetService(Service::new(elsewhere, scheduler::RR)), libc::ESRCH),
                _ => (Request::NewDestination(web(), destination(n)), 0),
            };
            requests.push(request);
            expected.push(errno);
        }
        let verdicts = client.batch(&requests).await.unwrap();
        let errnos: Vec<_> = verdicts.iter().map(|verdict| verdict.as_ref().err().map_or(0, |it| it.errno())).collect();
        assert_eq!(errnos, expected);
        assert_eq!(
            client.destinations(&web()).await.unwrap().len(),
            expected.iter().filter(|it| **it == 0).count() - 1
        );
    });
}

fn requests_of_a_pack_are_executed_in_order() {
    on(&Node::new("lb"), async |client| {
        let there = Request::NewService(Service::new(web(), scheduler::RR));
        let changed = Request::SetService(Service::new(web(), scheduler::WLC));
        let gone = Request::DelService(web());
        let mut requests: Vec<_> =
            std::iter::repeat_n([there.clone(), changed.clone(), gone], 1_000).flatten().collect();
        requests.extend([there, changed]);
        accepted(client, &requests).await;
        assert_eq!(client.services().await.unwrap()[0].as_requested().scheduler, scheduler::WLC);
    });
}

fn a_refusal_says_what_was_refused_and_why() {
    on(&Node::new("lb"), async |client| {
        let chain = |error: &Error| format!("{error}: {}", std::error::Error::source(error).unwrap());
        let destination = Destination::new(ip("10.0.0.7"), 80, Forward::Masquerade);
        let new = Request::NewService(Service::new(web(), scheduler::RR));

        let error = client.execute(Request::NewDestination(web(), destination)).await.unwrap_err();
        let said = "ipvs -a -t 10.0.0.1:80 -r 10.0.0.7:80 -m -w 1: no such service: No such process (os error 3)";
        assert_eq!(chain(&error), said);
        assert!(error.not_found());
        client.execute(new.clone()).await.unwrap();
        let error = client.execute(new).await.unwrap_err();
        assert!(error.already_exists(), "{error:?}");
        let error = client.service(&ServiceId::udp(ip("10.0.0.1"), 80)).await.unwrap_err();
        assert!(error.not_found(), "{error:?}");
        assert_eq!(error.to_string(), "read service -u 10.0.0.1:80 of IPVS");

        let odd = |netmask| Service {
            persistence: Some(Persistence { timeout: 9, netmask }),
            ..Service::new(ServiceId::tcp(ip("10.0.0.1"), 81), scheduler::RR)
        };
        let error = client.execute(Request::NewService(odd(Netmask::V6(64)))).await.unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL), "a mask of the other family");
        client.execute(Request::NewService(odd(Netmask::single(Family::Inet)))).await.unwrap();

        let error =
            client.execute(Request::NewDestination(web(), Destination { weight: u32::MAX, ..destination })).await;
        assert_eq!(error.unwrap_err().errno(), Some(libc::ERANGE), "a weight past i32::MAX");
        let other = Destination::new(ip("fd00::7"), 80, Forward::Masquerade);
        let error = client.execute(Request::NewDestination(web(), other)).await.unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL), "the other family without a tunnel");

        // The kernel reports no destinations, and no error, for a service that is not there.
        assert_eq!(client.destinations(&ServiceId::udp(ip("10.9.9.9"), 9)).await.unwrap(), []);
    });
}

fn without_the_privilege_it_is_named() {
    on(&Node::new("lb"), async |client| {
        // Of this thread alone.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let error = client.execute(Request::Flush).await.unwrap_err();
        assert!(error.not_permitted(), "{error:?}");
        let verdicts = client.batch(&[Request::Flush, Request::ZeroAll]).await.unwrap();
        assert!(verdicts.iter().all(|verdict| verdict.as_ref().is_err_and(|refusal| refusal.not_permitted())));
        assert!(client.services().await.unwrap_err().not_permitted());
    });
}

/// The packs of a dropped batch were executed; what it left unread does not disturb what comes next.
fn a_dropped_batch_does_not_disturb_the_next() {
    on(&Node::new("lb"), async |client| {
        let missing: Vec<_> =
            (0..5_000).map(|port| Request::DelService(ServiceId::tcp(ip("10.9.9.9"), port))).collect();
        for _ in 0..5 {
            let dropped = tokio::time::timeout(Duration::ZERO, client.batch(&missing)).await;
            assert!(dropped.is_err(), "it was carried through at once");
            accepted(client, &[Request::NewService(Service::new(web(), scheduler::RR)), Request::DelService(web())])
                .await;
            let verdicts = client.batch(&missing).await.unwrap();
            assert!(verdicts.iter().all(|verdict| verdict.as_ref().is_err_and(|refusal| refusal.no_such_service())));
        }
    });
}

fn flush_removes_everything() {
    on(&Node::new("lb"), async |client| {
        let mut requests: Vec<_> = services().into_iter().map(Request::NewService).collect();
        requests.extend(destinations().into_iter().map(|one| Request::NewDestination(web(), one)));
        accepted(client, &requests).await;
        client.execute(Request::Flush).await.unwrap();
        assert!(lines(client).await.is_empty());
    });
}

fn timeouts_are_set_and_zero_leaves_them() {
    let node = Node::new("lb");
    on(&node, async |client| {
        let defaults = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
        assert_eq!(client.timeouts().await.unwrap(), defaults);
        client.execute(Request::SetTimeouts(Timeouts { tcp: 901, tcp_fin: 0, udp: 301 })).await.unwrap();
        assert_eq!(client.timeouts().await.unwrap(), Timeouts { tcp: 901, tcp_fin: 120, udp: 301 });
        let said = node.run("ipvsadm", &["-l", "--timeout"]);
        assert_eq!(said.trim(), "Timeout (tcp tcpfin udp): 901 120 301");
        let error = client.execute(Request::SetTimeouts(Timeouts { tcp: u32::MAX, ..defaults })).await.unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL));
    });
}

fn info_is_what_ipvsadm_says() {
    let node = Node::new("lb");
    let said = node.run("ipvsadm", &["-ln"]);
    let Info { version, connection_table_size } = on(&node, async |client| client.info().await.unwrap());
    assert_eq!(version, Version(0x01_02_01));
    let first = format!("IP Virtual Server version {version} (size={connection_table_size})");
    assert_eq!(said.lines().next(), Some(first.as_str()));
}

fn daemons_start_and_stop() {
    let segment = Segment::new();
    let node = segment.host("lb", "10.0.0.2/24");
    on(&node, async |client| {
        assert_eq!(client.daemons().await.unwrap(), []);
        let plain = Daemon::new(DaemonRole::Master, name("eth0"), 3);
        let whole = Daemon {
            max_length: Some(1_400),
            group: Some(ip("239.1.2.3")),
            port: Some(9_000),
            ttl: Some(5),
            ..Daemon::new(DaemonRole::Backup, name("eth0"), 255)
        };
        client.execute(Request::NewDaemon(plain.clone())).await.unwrap();
        client.execute(Request::NewDaemon(whole.clone())).await.unwrap();
        let filled_in = Daemon {
            max_length: Some(1_472),
            group: Some(ip("224.0.0.81")),
            port: Some(8_848),
            ttl: Some(1),
            ..plain.clone()
        };
        assert_eq!(client.daemons().await.unwrap(), [filled_in, whole]);

        let error = client.execute(Request::NewDaemon(plain.clone())).await.unwrap_err();
        assert!(error.already_exists(), "{error:?}");
        let elsewhere = Daemon { interface: name("eth9"), ..plain };
        client.execute(Request::DelDaemon(DaemonRole::Master)).await.unwrap();
        let error = client.execute(Request::NewDaemon(elsewhere)).await.unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENODEV));
        let error = client.execute(Request::DelDaemon(DaemonRole::Master)).await.unwrap_err();
        assert!(error.not_found(), "{error:?}");
        // The kernel answers EINTR by silence if the daemon has not run yet.
        client.execute(Request::DelDaemon(DaemonRole::Backup)).await.unwrap();
        assert_eq!(client.daemons().await.unwrap(), []);

        // Multicast on IPv6.
        let six = Daemon { group: Some(ip("ff02::81")), ..Daemon::new(DaemonRole::Backup, name("eth0"), 1) };
        client.execute(Request::NewDaemon(six.clone())).await.unwrap();
        assert_eq!(client.daemons().await.unwrap()[0].group, six.group);
        client.execute(Request::DelDaemon(DaemonRole::Backup)).await.unwrap();
    });
}

fn packets_are_counted_and_counters_zeroed() {
    let segment = Segment::new();
    let node = segment.host("lb", "10.0.0.254/24");
    on(&node, async |client| {
        let ids = [53, 54].map(|port| ServiceId::udp(ip("10.0.0.1"), port));
        let destination = Destination::new(ip("10.0.0.7"), 53, Forward::Masquerade);
        for id in ids {
            let new = Request::NewService(Service::new(id, scheduler::RR));
            accepted(client, &[new, Request::NewDestination(id, destination)]).await;
        }
        let socket = UdpSocket::bind("10.0.0.254:0").unwrap();
        for port in [53, 54] {
            (0..3).for_each(|_| assert_eq!(socket.send_to(b"four", ("10.0.0.1", port)).unwrap(), 4));
        }
        // The kernel adds its counters up every two seconds.
        counted(client, &ids, [(1, 3), (1, 3)]).await;
        let stats = client.destinations(&ids[0]).await.unwrap()[0].stats;
        assert_eq!((stats.connections, stats.in_packets, stats.in_bytes), (1, 3, 3 * (20 + 8 + 4)));
        assert_eq!(client.destinations(&ids[0]).await.unwrap()[0].inactive_connections, 1);
        client.execute(Request::Zero(ids[0])).await.unwrap();
        counted(client, &ids, [(0, 0), (1, 3)]).await;
        client.execute(Request::ZeroAll).await.unwrap();
        counted(client, &ids, [(0, 0), (0, 0)]).await;
    });
}

/// Waits until the services have seen so many connections and packets.
async fn counted(client: &mut Client, ids: &[ServiceId; 2], expected: [(u64, u64); 2]) {
    let mut last = expected.map(|_| (u64::MAX, u64::MAX));
    for _ in 0..600 {
        for (id, seen) in ids.iter().zip(&mut last) {
            let stats = client.service(id).await.unwrap().stats;
            *seen = (stats.connections, stats.in_packets);
        }
        if last == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{last:?} instead of {expected:?}");
}

/// 22,000 objects in packs, read back.
fn two_thousand_services_of_ten_destinations() {
    let address = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a80_0000 + n));
    let node = Node::new("lb");
    on(&node, async |client| {
        let ids: Vec<_> = (1..=2_000).map(|n| ServiceId::tcp(address(n), 6443)).collect();
        let mut requests = Vec::new();
        for id in &ids {
            requests.push(Request::NewService(Service::new(*id, scheduler::RR)));
            let destination = |n| Destination::new(address(n), 6443, Forward::Masquerade);
            requests.extend((1..=10).map(|n| Request::NewDestination(*id, destination(n))));
        }
        accepted(client, &requests).await;
        let ours: BTreeSet<_> = requests.iter().map(Request::to_string).collect();
        assert_eq!(lines(client).await, ours);
    });
}

slb_lab::main! {
    fast: [
        a_kernel_without_ipvs_says_so,
        every_service_is_read_back_as_it_was_asked_for,
        every_destination_is_read_back_as_it_was_asked_for,
        refusals_belong_to_their_requests,
        requests_of_a_pack_are_executed_in_order,
        a_refusal_says_what_was_refused_and_why,
        without_the_privilege_it_is_named,
        a_dropped_batch_does_not_disturb_the_next,
        flush_removes_everything,
        timeouts_are_set_and_zero_leaves_them,
        info_is_what_ipvsadm_says,
        daemons_start_and_stop,
        packets_are_counted_and_counters_zeroed,
        two_thousand_services_of_ten_destinations,
    ],
    stock: [
        a_kernel_without_ipvs_says_so,
        every_service_is_read_back_as_it_was_asked_for,
        every_destination_is_read_back_as_it_was_asked_for,
        refusals_belong_to_their_requests,
        without_the_privilege_it_is_named,
        daemons_start_and_stop,
        packets_are_counted_and_counters_zeroed,
    ],
}
