// SPDX-License-Identifier: Apache-2.0
//! What the controller and readers see of backends that come and go.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use slb_core::{
    checker::{Beginning, Checker, Known, Watch},
    health::Standing,
    model::{
        LoadBalancerId,
        check::{Address, Check, Question, Timing},
    },
};
use slb_health::{Checks, Commands};
use tokio::net::TcpListener;
use uuid::Uuid;

const OWNER: LoadBalancerId = LoadBalancerId(Uuid::nil());

fn watch(target: SocketAddr) -> Watch {
    let timing = Timing::every(Duration::from_millis(20)).unwrap();
    Watch {
        target,
        check: Arc::new(Check {
            question: Question::Tcp,
            timing,
            address: Address::default(),
            port: None,
            source: None,
        }),
        through: None,
        proxy_protocol: None,
    }
}

fn known(standing: Standing) -> Beginning {
    Beginning::Known(long_ago(standing))
}

fn long_ago(standing: Standing) -> Known {
    Known { standing, since: SystemTime::UNIX_EPOCH }
}

/// The kernel accepts for it as long as it is not dropped.
async fn backend(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap()
}

#[tokio::test]
async fn a_backend_goes_and_comes_back() {
    let one = backend(0).await;
    let address = one.local_addr().unwrap();
    let watch = watch(address);
    let mut checks = Checks::start(Commands::Refused).unwrap();
    let reports = checks.reports();
    assert_eq!(reports.report(&watch), None);
    checks.set(OWNER, BTreeMap::from([(watch.clone(), Beginning::New)]));
    assert_eq!(reports.report(&watch).unwrap().now.standing, Standing::Up);
    one.accept().await.unwrap();
    drop(one);
    let gone = checks.next().await.remove(0);
    assert_eq!((&gone.watch, gone.now.standing), (&watch, Standing::Down));
    assert!(gone.reason.unwrap().contains("Connection refused"));
    let report = reports.report(&watch).unwrap();
    assert_eq!(report.now, gone.now);
    assert!(report.last.unwrap().error.is_some());
    let one = backend(address.port()).await;
    let back = checks.next().await.remove(0);
    assert_eq!((back.now.standing, back.reason), (Standing::Up, None));
    assert!(back.now.since > gone.now.since);
    checks.set(OWNER, BTreeMap::new());
    assert_eq!(reports.report(&watch), None);
    drop(one);
}

#[tokio::test]
async fn one_that_was_down_before_a_restart_comes_back_after_enough_successes() {
    let one = backend(0).await;
    let watch = watch(one.local_addr().unwrap());
    let mut checks = Checks::start(Commands::Refused).unwrap();
    checks.set(OWNER, BTreeMap::from([(watch.clone(), known(Standing::Down))]));
    let report = checks.reports().report(&watch).unwrap();
    assert_eq!(report.now, long_ago(Standing::Down));
    assert_eq!(checks.next().await[0].now.standing, Standing::Up);
    // Each of them was a connection.
    for _ in 0..watch.check.timing.rise.get() {
        one.accept().await.unwrap();
    }
}

#[tokio::test]
async fn one_that_was_up_before_a_restart_goes_after_enough_failures() {
    let (up, new) = (backend(0).await, backend(0).await);
    let watches = [&up, &new].map(|backend| watch(backend.local_addr().unwrap()));
    drop((up, new));
    let mut checks = Checks::start(Commands::Refused).unwrap();
    let [up, new] = watches.clone();
    checks.set(OWNER, BTreeMap::from([(up, known(Standing::Up)), (new, Beginning::New)]));
    let mut gone = Vec::new();
    while gone.len() < 2 {
        gone.extend(checks.next().await.into_iter().map(|gone| gone.watch));
    }
    // The first failure of one that nobody knows decides.
    gone.dedup();
    assert_eq!(gone, [watches[1].clone(), watches[0].clone()]);
}

#[tokio::test]
async fn what_several_ask_goes_on_until_the_last_of_them_stops() {
    let one = backend(0).await;
    let watch = watch(one.local_addr().unwrap());
    let mut checks = Checks::start(Commands::Refused).unwrap();
    let reports = checks.reports();
    let other = LoadBalancerId(Uuid::max());
    checks.set(OWNER, BTreeMap::from([(watch.clone(), Beginning::New)]));
    one.accept().await.unwrap();
    drop(one);
    assert_eq!(checks.next().await[0].now.standing, Standing::Down);
    // Who joins later finds it as it is, whatever is said of earlier.
    checks.set(other, BTreeMap::from([(watch.clone(), known(Standing::Up))]));
    assert_eq!(reports.report(&watch).unwrap().now.standing, Standing::Down);
    checks.set(OWNER, BTreeMap::new());
    assert!(reports.report(&watch).is_some());
    checks.set(other, BTreeMap::new());
    assert_eq!(reports.report(&watch), None);
}

#[tokio::test]
async fn what_nobody_waited_for_is_told_the_next_time() {
    let one = backend(0).await;
    let target = one.local_addr().unwrap();
    drop(one);
    let mut checks = Checks::start(Commands::Refused).unwrap();
    checks.set(OWNER, BTreeMap::from([(watch(target), Beginning::New)]));
    // Given up again and again until there is something to hear.
    let told = loop {
        tokio::select! {
            biased;
            told = checks.next() => break told,
            () = tokio::task::yield_now() => {}
        }
    };
    assert_eq!(told[0].now.standing, Standing::Down);
}

/// The same, asked as often as that, and with so many failures that decide.
fn retimed(watch: &Watch, interval: Duration, fall: i64) -> Watch {
    let mut timing = Timing::every(interval).unwrap().with_fast_interval(interval).unwrap();
    timing.fall = fall.try_into().unwrap();
    Watch { check: Arc::new(Check { timing, ..Check::clone(&watch.check) }), ..watch.clone() }
}

#[tokio::test]
async fn a_check_at_other_times_counts_on() {
    const HOUR: Duration = Duration::from_secs(3600);
    let one = backend(0).await;
    let watch = watch(one.local_addr().unwrap());
    drop(one);
    let (before, after) = (retimed(&watch, HOUR, 3), retimed(&watch, HOUR, 2));
    let mut checks = Checks::start(Commands::Refused).unwrap();
    let reports = checks.reports();
    let first_check = async |of: &Watch, since: SystemTime| loop {
        let report = reports.report(of).unwrap();
        if report.last.as_ref().is_some_and(|last| last.at > since) {
            return report;
        }
        tokio::task::yield_now().await;
    };
    checks.set(OWNER, BTreeMap::from([(before.clone(), known(Standing::Up))]));
    let first = first_check(&before, SystemTime::UNIX_EPOCH).await;
    assert_eq!(first.now, long_ago(Standing::Up), "one failure of three");
    let begun = SystemTime::now();
    checks.set(OWNER, BTreeMap::from([(after.clone(), Beginning::After(before.clone()))]));
    assert_eq!(reports.report(&before), None);
    assert_eq!(first_check(&after, begun).await.now.standing, Standing::Down, "the second failure of two");
    assert_eq!(checks.next().await[0].watch, after);
}

/// The one before would have told it, but nobody listens to that any more.
#[tokio::test]
async fn what_a_check_has_not_told_yet_is_told_by_the_one_after_it() {
    const HOUR: Duration = Duration::from_secs(3600);
    let one = backend(0).await;
    let watch = watch(one.local_addr().unwrap());
    drop(one);
    let (before, after) = (retimed(&watch, HOUR, 1), retimed(&watch, HOUR, 2));
    let mut checks = Checks::start(Commands::Refused).unwrap();
    let reports = checks.reports();
    checks.set(OWNER, BTreeMap::from([(before.clone(), Beginning::New)]));
    while reports.report(&before).unwrap().now.standing == Standing::Up {
        tokio::task::yield_now().await;
    }
    checks.set(OWNER, BTreeMap::from([(after.clone(), Beginning::After(before))]));
    let told = checks.next().await.remove(0);
    assert_eq!((told.watch, told.now.standing), (after, Standing::Down));
    assert!(told.reason.is_some());
}
