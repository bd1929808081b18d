// SPDX-License-Identifier: Apache-2.0
//! Two sessions that talk to each other, and one that is talked to badly.

use slb_core::{model::Vip, peer::PeerSettings};

use super::*;

const OWN: Speaker = Speaker::new(65000, Ipv4Addr::new(10, 0, 0, 1));
const OTHER: Speaker = Speaker::new(4_200_000_001, Ipv4Addr::new(10, 0, 0, 254));

fn route() -> Prefix {
    "203.0.113.10".parse::<Vip>().unwrap().into()
}

fn session(own: Speaker, other: u32, local: &str, hold: u64, now: Instant) -> Session {
    let local: IpAddr = local.parse().unwrap();
    let hold_time = Some(Duration::from_secs(hold).try_into().unwrap());
    let settings = PeerSettings { hold_time, ..PeerSettings::default() };
    let address = "10.0.0.99".parse::<IpAddr>().unwrap().try_into().unwrap();
    let peer = Peer { settings, ..Peer::new(address, other.try_into().unwrap()) };
    Session::new(own, peer, local, false, now)
}

/// Both ends, until neither has anything to say.
fn talk(one: &mut Session, other: &mut Session, now: Instant) -> Result<Vec<Event>, Ended> {
    let mut events = Vec::new();
    loop {
        let (said, answered) = (one.output(), other.output());
        if said.is_empty() && answered.is_empty() {
            return Ok(events);
        }
        other.hear(&said, now)?;
        events.extend(one.hear(&answered, now)?);
    }
}

fn established(now: Instant) -> (Session, Session) {
    let mut one = session(OWN, OTHER.asn, "10.0.0.1", 90, now);
    let mut other = session(OTHER, OWN.asn, "10.0.0.254", 9, now);
    assert_eq!(talk(&mut one, &mut other, now), Ok(vec![Event::Met, Event::Established]));
    (one, other)
}

#[test]
fn two_speakers_agree_and_keep_each_other_alive() {
    let now = Instant::now();
    let (mut one, mut other) = established(now);
    assert_eq!((one.phase(), other.phase()), (Phase::Established, Phase::Established));
    assert_eq!((one.mute(Family::Ipv4), one.hold_time), (None, Duration::from_secs(9)), "the shorter one counts");
    let mut later = now;
    for _ in 0..20 {
        later = one.deadline().min(other.deadline()).unwrap();
        one.tick(later).unwrap();
        other.tick(later).unwrap();
        talk(&mut one, &mut other, later).unwrap();
    }
    assert!(later >= now + Duration::from_secs(9));
    let silence = later + Duration::from_secs(9);
    let Err(Ended::Answered { answer, .. }) = one.tick(silence) else { panic!("not ended") };
    assert_eq!((answer.code, answer.subcode), Notification::HOLD_TIMER_EXPIRED);
    assert!(one.output().ends_with(&wire::notification(&answer)));
}

#[test]
fn a_session_without_timers_stands_for_ever_once_it_stands() {
    let now = Instant::now();
    let mut one = session(OWN, OTHER.asn, "10.0.0.1", 0, now);
    let mut other = session(OTHER, OWN.asn, "10.0.0.254", 90, now);
    one.hear(&other.output(), now).unwrap();
    assert_eq!((one.phase(), one.deadline()), (Phase::OpenConfirm, Some(now + PATIENCE)));
    assert_eq!(talk(&mut one, &mut other, now), Ok(vec![Event::Established]));
    assert_eq!((one.phase(), one.deadline()), (Phase::Established, None));
}

#[test]
fn routes_wait_for_the_session() {
    let now = Instant::now();
    let vip = route();
    let mut one = session(OWN, OTHER.asn, "10.0.0.1", 90, now);
    let before = one.output();
    one.announce(&[vip]);
    one.withdraw(&[vip]);
    one.end_of_routes();
    assert_eq!((one.output(), before.is_empty()), (Vec::new(), false));
    let (mut one, mut other) = established(now);
    one.announce(&[vip]);
    one.end_of_routes();
    one.withdraw(&[vip]);
    assert_eq!(talk(&mut one, &mut other, now), Ok(Vec::new()), "a speaker takes routes and keeps none");
}

#[test]
fn who_is_not_expected_is_told_so() {
    let now = Instant::now();
    let answer = |own: Speaker, expected: u32, other: Speaker| {
        let mut one = session(own, expected, "10.0.0.1", 90, now);
        let mut other = session(other, own.asn, "10.0.0.254", 90, now);
        match one.hear(&other.output(), now) {
            Err(Ended::Answered { answer, why }) => ((answer.code, answer.subcode), why),
            other => panic!("{other:?}"),
        }
    };
    let (code, why) = answer(OWN, 65001, OTHER);
    assert_eq!((code, why.as_str()), (Notification::BAD_PEER_AS, "the peer is AS 4200000001, not AS 65001"));
    assert_eq!(answer(OWN, OWN.asn, OWN).0, Notification::BAD_IDENTIFIER);
}

#[test]
fn messages_out_of_turn_end_the_session() {
    let now = Instant::now();
    let mut one = session(OWN, OTHER.asn, "10.0.0.1", 90, now);
    let Err(Ended::Answered { answer, .. }) = one.hear(&wire::keepalive(), now) else { panic!("not ended") };
    assert_eq!((answer.code, answer.subcode), Notification::UNEXPECTED_IN_OPEN_SENT);
    let (mut one, _) = established(now);
    let again = session(OTHER, OWN.asn, "10.0.0.254", 9, now).output();
    let Err(Ended::Answered { answer, .. }) = one.hear(&again, now) else { panic!("not ended") };
    assert_eq!((answer.code, answer.subcode), Notification::UNEXPECTED_IN_ESTABLISHED);
    let (mut one, mut other) = established(now);
    other.leave(Notification::ADMINISTRATIVE_SHUTDOWN, "bye");
    let Err(Ended::Said(said)) = one.hear(&other.output(), now) else { panic!("not ended") };
    assert_eq!(said.to_string(), "administrative shutdown (\"bye\")");
}

#[test]
fn a_peer_that_cannot_take_the_routes_is_named() {
    let now = Instant::now();
    let mut one = session(OWN, OTHER.asn, "fd00::1", 90, now);
    let mut other = session(OTHER, OWN.asn, "10.0.0.254", 90, now);
    talk(&mut one, &mut other, now).unwrap();
    assert!(one.mute(Family::Ipv4).is_some_and(|why| why.contains("RFC 8950")));
    one.announce(&[route()]);
    assert!(one.output().is_empty());
}

#[test]
fn routes_of_ipv6_need_a_next_hop_of_ipv6() {
    let now = Instant::now();
    let route: Prefix = "2001:db8::10".parse::<Vip>().unwrap().into();
    let next_hop = |own: Speaker, local: &str, asked_for: Option<&str>| {
        let mut one = session(own, OTHER.asn, local, 90, now);
        let hop = |text: &str| NextHop::try_from(text.parse::<IpAddr>().unwrap()).unwrap();
        one.peer.settings.next_hop = asked_for.map(hop);
        let mut other = session(OTHER, OWN.asn, "10.0.0.254", 90, now);
        talk(&mut one, &mut other, now).unwrap();
        one.announce(&[route]);
        assert_eq!(one.output().is_empty(), one.mute(Family::Ipv6).is_some());
        one.agreed().unwrap().next_hop_ipv6.map(|address| address.to_string())
    };
    let given = Speaker { next_hop_ipv6: Some("fd00::7".parse().unwrap()), ..OWN };
    assert_eq!(next_hop(OWN, "10.0.0.1", None), None);
    assert_eq!(next_hop(OWN, "::1", None), None);
    assert_eq!(next_hop(OWN, "fd00::1", None).as_deref(), Some("fd00::1"));
    assert_eq!(next_hop(given, "10.0.0.1", None).as_deref(), Some("fd00::7"));
    assert_eq!(next_hop(given, "fd00::1", None).as_deref(), Some("fd00::7"));
    assert_eq!(next_hop(given, "fd00::1", Some("10.0.0.9")).as_deref(), Some("fd00::7"));
    assert_eq!(next_hop(given, "10.0.0.1", Some("fd00::9")).as_deref(), Some("fd00::9"));
}
