// SPDX-License-Identifier: Apache-2.0
//! What goes wrong on the way costs no address.

use std::task::Poll;

use futures_util::FutureExt;

use super::*;

const fn lost(done: Effect, then: Then) -> Fault {
    Fault { done, then }
}

/// It was carried out, and nobody said so: the address is found again, not asked for twice.
#[tokio::test]
async fn a_lost_answer_is_found_again() {
    for then in [Then::Cut, Then::Half, Then::Garbage, Then::Silence, Then::Answer(500, "X-A: b", "")] {
        let site = Site::new();
        let is_silent = matches!(then, Then::Silence);
        let timing = if is_silent { Timing { call: Duration::from_millis(500), ..QUICK } } else { QUICK };
        let mut pool = site.pool(timing, &[]);
        site.until("the first sweep", |books| books.count("GET") > 0).await;
        site.metal.fail("POST", &[lost(Effect::Done, then)]);
        let found = acquire(&mut pool).await.unwrap();
        site.until_reserved(&[found]).await;
        assert_eq!(site.metal.with(|books| books.count("POST")), 1, "{then:?}");
        site.check_log();
    }
}

/// It was not carried out: it is asked for again.
#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for then in [
        Then::Cut,
        Then::Answer(500, "X-A: b", ""),
        Then::Answer(502, "X-A: b", "<html>"),
        Then::Answer(503, "Retry-After: 0", ""),
        Then::Answer(429, "X-A: b", "{\"error\": \"too many\"}"),
    ] {
        let site = Site::new();
        site.metal.fail("POST", &[lost(Effect::None, then); 2]);
        let mut pool = site.pool(QUICK, &[]);
        let found = acquire(&mut pool).await.unwrap();
        site.until_reserved(&[found]).await;
        assert_eq!(site.metal.with(|books| books.count("POST")), 3, "{then:?}");
    }
}

#[tokio::test]
async fn the_api_says_when_to_come_back() {
    let site = Site::new();
    site.metal.fail("POST", &[lost(Effect::None, Then::Answer(429, "Retry-After: 1", ""))]);
    let mut pool = site.pool(QUICK, &[]);
    let start = std::time::Instant::now();
    acquire(&mut pool).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

/// Once, with the API's own words, and without the token should it be among them.
#[tokio::test]
async fn what_is_refused_is_told_and_not_tried_again() {
    for (status, body, expected) in [
        (401, "{\"error\": \"Invalid authentication token tok3n-that-nobody-may-see\"}", "token …"),
        (403, "{\"errors\": [\"You are not authorized\"]}", "403 Forbidden: You are not authorized"),
        (404, "{\"errors\": [\"Not found\"]}", "404 Not Found: Not found"),
        (422, "{\"errors\": [\"no capacity\", \"in am6\"]}", "422 Unprocessable Entity: no capacity; in am6"),
        (302, "", "302 Found"),
    ] {
        let site = Site::new();
        let elsewhere = Then::Answer(status, "Location: /metal/v1/elsewhere", body);
        site.metal.fail("POST", &[lost(Effect::None, elsewhere)]);
        let mut pool = site.pool(QUICK, &[]);
        let error = acquire(&mut pool).await.unwrap_err();
        assert!(matches!(error, PoolError::Provider(_)) && words(&error).contains(expected), "{}", words(&error));
        assert!(!format!("{error:?} {}", words(&error)).contains(TOKEN), "{error:?}");
        site.metal.with(|books| assert_eq!((books.count("POST"), books.count("GET /elsewhere")), (1, 0)));
        site.check_log();
    }
}

#[tokio::test]
async fn patience_has_an_end() {
    let site = Site::new();
    site.metal.fail("POST", &[lost(Effect::None, Then::Answer(503, "X-A: b", "")); 1000]);
    let mut pool = site.pool(Timing { acquire: Duration::from_millis(50), ..QUICK }, &[]);
    let error = acquire(&mut pool).await.unwrap_err();
    assert!(words(&error).contains("503"), "{}", words(&error));
    // Where nobody listens.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api = format!("http://{nobody}").parse().unwrap();
    let timing = Timing { acquire: Duration::from_millis(50), ..QUICK };
    let client = Client::new(api, TOKEN.parse().unwrap(), timing).unwrap();
    let mut pool = Equinix::new(client, site.project(), Place::Metro("am".to_owned()), site.owner, site.device);
    let error = acquire(&mut pool).await.unwrap_err();
    assert!(words(&error).contains("refused"), "{}", words(&error));
    site.check_log();
}

/// Nobody says what became of the request, and nobody answers who is asked about it: what it has left is released later.
#[tokio::test]
async fn patience_has_an_end_when_in_doubt() {
    let site = Site::new();
    let mut pool = site.pool(Timing { acquire: Duration::from_secs(1), ..QUICK }, &[]);
    site.until("the first sweep", |books| books.count("GET") > 0).await;
    site.metal.fail("POST", &[lost(Effect::Done, Then::Answer(500, "X-A: b", ""))]);
    site.metal.fail("GET", &[lost(Effect::None, Then::Silence)]);
    let error = acquire(&mut pool).await.unwrap_err();
    assert!(words(&error).contains("500"), "{}", words(&error));
    site.until_reserved(&[]).await;
}

/// Whoever stops waiting leaves nothing behind, even if the API answers much later.
#[tokio::test]
async fn what_nobody_waits_for_is_released() {
    for (effect, sweep) in [(Effect::Done, QUICK.sweep), (Effect::Late, Duration::from_millis(20))] {
        let site = Site::new();
        let mut pool = site.pool(Timing { sweep, ..QUICK }, &[]);
        site.until("the first sweep", |books| books.count("GET") > 0).await;
        site.metal.fail("POST", &[lost(effect, Then::Silence)]);
        let mut acquiring = Box::pin(acquire(&mut pool));
        while site.metal.with(|books| books.count("POST")) == 0 {
            assert!((&mut acquiring).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        drop(acquiring);
        site.metal.catch_up();
        site.until("a release", |books| books.count("DELETE") > 0).await;
        site.until_reserved(&[]).await;
    }
}

/// No sweep takes what belongs to a request that is still on its way.
#[tokio::test]
async fn a_sweep_spares_what_is_on_its_way() {
    let site = Site::new();
    let timing = Timing { sweep: Duration::from_millis(1), call: Duration::from_secs(1), ..QUICK };
    let mut pool = site.pool(timing, &[]);
    site.metal.fail("POST", &[lost(Effect::Done, Then::Silence)]);
    let found = acquire(&mut pool).await.unwrap();
    let swept = site.metal.with(|books| books.count("GET"));
    site.until("more sweeps", move |books| books.count("GET") > swept + 2).await;
    site.until_reserved(&[found]).await;
    assert_eq!(site.metal.with(|books| books.count("DELETE")), 0);
}

#[tokio::test]
async fn a_release_is_tried_until_it_is_done() {
    let site = Site::new();
    let mut pool = site.pool(Timing { longest_pause: Duration::from_millis(2), ..QUICK }, &[]);
    let (one, two) = (acquire(&mut pool).await.unwrap(), acquire(&mut pool).await.unwrap());
    let away = lost(Effect::None, Then::Answer(503, "X-A: b", ""));
    let forbidden = lost(Effect::None, Then::Answer(403, "X-A: b", ""));
    let (gone, cut) = (lost(Effect::Done, Then::Answer(404, "X-A: b", "")), lost(Effect::Done, Then::Cut));
    site.metal.fail("DELETE", &[away, away, away, away, away, forbidden, forbidden, away, cut, gone]);
    pool.release(one);
    site.until_reserved(&[two]).await;
    site.until_said("releases addresses again").await;
    site.metal.fail("DELETE", &[gone]);
    pool.release(two);
    site.until_reserved(&[]).await;
    let complaints = site.log.lines().into_iter().filter(|line| line.contains("cannot release")).count();
    assert_eq!(complaints, 1, "{:?}", site.log.lines());
}

/// Whatever goes wrong, whoever stops waiting, whenever it is killed: in the end what is reserved is what is held.
#[tokio::test]
async fn nothing_is_lost_whatever_happens() {
    let mut dice = Dice(20_211_112);
    for _ in 0..30 {
        let site = Site::new();
        let timing = Timing { call: Duration::from_millis(300), sweep: Duration::from_millis(5), ..QUICK };
        let timing = Timing { longest_pause: Duration::from_millis(5), acquire: Duration::from_millis(500), ..timing };
        let mut held: Vec<Vip> = Vec::new();
        for _start in 0..3 {
            let mut pool = site.pool(timing, &held);
            for method in ["GET", "POST", "DELETE"] {
                let faults: Vec<Fault> = (0..dice.roll(4)).map(|_| dice.fault()).collect();
                site.metal.fail(method, &faults);
            }
            let mut waiting = Vec::new();
            for _ in 0..4 {
                waiting.push(Box::pin(pool.acquire(Wanted::Any, &BTreeMap::new())));
            }
            for _ in 0..dice.roll(3000) {
                match dice.roll(500) {
                    0 if !held.is_empty() => pool.release(held.remove(0)),
                    1 => drop(waiting.pop()),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut acquiring in waiting {
                    match futures_util::poll!(&mut acquiring) {
                        Poll::Ready(found) => held.extend(found.ok()),
                        Poll::Pending => still.push(acquiring),
                    }
                }
                waiting = still;
                tokio::task::yield_now().await;
            }
        }
        for method in ["GET", "POST", "DELETE"] {
            site.metal.fail(method, &[]);
        }
        site.metal.catch_up();
        let _pool = site.pool(timing, &held);
        site.until_reserved(&held).await;
        site.check_log();
    }
}

/// A sequence of numbers that a seed repeats (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn fault(&mut self) -> Fault {
        let done = [Effect::None, Effect::Done, Effect::Late][usize::try_from(self.roll(3)).unwrap()];
        let then = match self.roll(6) {
            0 => Then::Cut,
            1 => Then::Half,
            2 => Then::Garbage,
            3 => Then::Silence,
            4 => Then::Answer(503, "Retry-After: 0", ""),
            _ => Then::Answer(429, "X-A: b", ""),
        };
        Fault { done, then }
    }
}
