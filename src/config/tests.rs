// SPDX-License-Identifier: Apache-2.0
//! What options mean, and which are refused.

use clap::Parser;
use proptest::prelude::*;

use super::{duration::LONGEST, *};
use crate::args::{CommandLine, Verb};

fn parsed(words: &[&str]) -> ServerArgs {
    let line = CommandLine::try_parse_from(["slb", "server"].iter().chain(words)).unwrap();
    let (Verb::Server(args) | Verb::Cleanup(args)) = line.verb else { panic!("not a server") };
    args
}

fn typed(words: &[&str]) -> Result<Config, BadOption> {
    let (given, file) = given(parsed(words))?;
    Config::from_given(with_vips_of(given, file.as_ref())?)?.with_file(file)
}

/// By BGP, but for the peers.
fn bgp(more: &[&'static str]) -> Vec<&'static str> {
    let words =
        ["--bgp", "--adapter", "lo", "--ipamRange", "203.0.113.10", "--bgpAs", "65000", "--bgpRouterId", "10.0.0.1"];
    [&words[..], more].concat()
}

/// Of a configuration by BGP.
fn peering(config: Config) -> Peering {
    match config.vips {
        Vips::Own { announce: Announce::Bgp { peering, .. }, .. } => peering,
        Vips::Own { announce: Announce::Nobody | Announce::Arp { .. } | Announce::Gobgp { .. }, .. }
        | Vips::Metal(_) => {
            panic!("not by BGP")
        }
    }
}

#[test]
fn peers_come_from_everywhere() {
    let peers = |config| {
        let peers = peering(config).peers.into_iter().map(|peer| (peer.address.to_string(), peer.asn.get()));
        peers.collect::<Vec<_>>()
    };
    let two = ["--bgpPeer", "[fd00::fe]:65530", "--bgpPeer", "10.0.0.254:65530:a:b"];
    let expected = [("10.0.0.254".to_owned(), 65530), ("fd00::fe".to_owned(), 65530)];
    assert_eq!(peers(typed(&bgp(&two)).unwrap()), expected);
    let file: Given = toml::from_str("bgpPeer = [\"[fd00::fe]:65530\", \"10.0.0.254:65530:a b\"]").unwrap();
    let line = given(parsed(&bgp(&[]))).unwrap().0;
    assert_eq!(peers(Config::from_given(line.or(file)).unwrap()), expected);
    let one: Given = toml::from_str("bgpPeer = \"10.0.0.254:65530:a b\"").unwrap();
    let line = given(parsed(&bgp(&[]))).unwrap().0;
    assert_eq!(peers(Config::from_given(line.or(one)).unwrap()), expected[..1]);
}

#[test]
fn peers_may_connect_to_the_port_of_bgp_or_another() {
    let words =
        ["--bgpListen", "0.0.0.0", "--bgpListen", "::", "--bgpListen", "[::1]", "--bgpListen", "[fd00::1]:1179"];
    let listen = peering(typed(&bgp(&words)).unwrap()).listen;
    assert_eq!(
        listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["0.0.0.0:179", "[::]:179", "[::1]:179", "[fd00::1]:1179"]
    );
}

#[test]
fn settings_of_all_peers_come_from_everywhere() {
    let settings = |config| peering(config).defaults;
    let words = [
        ["--bgpHoldTime", "30s"],
        ["--bgpRestartTime", "1m"],
        ["--bgpSource", "10.0.0.1"],
        ["--bgpNextHop", "10.0.0.7"],
        ["--bgpMed", "7"],
        ["--bgpLocalPref", "200"],
        ["--bgpPrepend", "2"],
        ["--bgpCommunity", "65000:1"],
        ["--bgpCommunity", "65000:1:2"],
    ];
    let typed = settings(typed(&bgp(&[&words.concat()[..], &["--bgpGtsm"]].concat())).unwrap());
    assert_eq!((typed.hold_time().seconds(), typed.restart_time().seconds(), typed.gtsm()), (30, 60, true));
    assert_eq!((typed.med, typed.local_pref(), typed.prepend().get()), (Some(7), 200, 2));
    assert_eq!(typed.communities().map(|each| each.to_string()).collect::<Vec<_>>(), ["65000:1", "65000:1:2"]);
    let file = "bgpHoldTime = \"30s\"\nbgpRestartTime = \"1m\"\nbgpSource = \"10.0.0.1\"\nbgpNextHop = \"10.0.0.7\"\nbgpMed = 7\n\
                bgpLocalPref = 200\nbgpPrepend = 2\nbgpCommunity = [\"65000:1\", \"65000:1:2\"]\nbgpGtsm = true";
    let file: Given = toml::from_str(file).unwrap();
    assert_eq!(settings(Config::from_given(given(parsed(&bgp(&[]))).unwrap().0.or(file)).unwrap()), typed);
}

const ORIGINAL: [&str; 5] = ["--arp", "--adapter", "eth0", "--ipamRange", "192.168.0.85-192.168.0.90"];

#[test]
fn the_originals_command_line_is_understood() {
    let config = typed(&ORIGINAL).unwrap();
    assert_eq!(config.adapter, "eth0");
    assert_eq!(config.listen, "0.0.0.0:10001".parse().unwrap());
}

/// Nobody has to be told of addresses that every host has, nor where they are.
#[test]
fn loopback_needs_no_announcement_and_no_adapter() {
    assert_eq!(typed(&["--ipamRange", "127.0.0.85"]).unwrap().adapter, "lo");
    let config = typed(&["--adapter", "lo", "--ipamRange", "127.0.0.85-127.0.0.90"]).unwrap();
    assert!(config.vips.is_loopback() && config.dataplane == Wanted::Auto);
    assert!(matches!(config.vips, Vips::Own { announce: Announce::Nobody, .. }));
}

#[test]
fn what_contradicts_or_is_missing_is_named() {
    let words = |extra: &[&'static str]| ORIGINAL.iter().copied().chain(extra.iter().copied()).collect::<Vec<_>>();
    for (words, expected) in [
        (words(&["--bgp"]), "exclude each other"),
        (vec!["--adapter", "eth0", "--ipamRange", "10.0.0.1"], "--arp"),
        (vec!["--bgp", "--adapter", "lo"], "--bgpAs is missing"),
        (vec!["--bgp", "--bgpAs", "65000"], "--bgpRouterId is missing"),
        (bgp(&["--bgpPeer", "10.0.0.254"]), "ADDRESS:AS"),
        (bgp(&["--bgpPeer", "10.0.0.254:1", "--bgpPeer", "10.0.0.254:2"]), "twice"),
        (words(&["--bgpAs", "65000"]), "--bgpAs goes with --bgp"),
        (words(&["--bgpCommunity", "no-export"]), "--bgpCommunity goes with --bgp"),
        (bgp(&["--bgpAggregation", "33"]), "--bgpAggregation: 33 is no length"),
        (bgp(&["--bgpAggregationIpv6", "129"]), "--bgpAggregationIpv6: 129 is no length"),
        (bgp(&["--bgpNextHopIpv6", "::1"]), "--bgpNextHopIpv6: ::1"),
        (words(&["--bgpNextHopIpv6", "fd00::1"]), "--bgpNextHopIpv6 goes with --bgp"),
        (bgp(&["--bgpListen", "host"]), "--bgpListen host: write IP"),
        (bgp(&["--bgpPassive"]), "--bgpPassive needs --bgpListen"),
        (bgp(&["--bgpHoldTime", "2s"]), "--bgpHoldTime: a hold time is 3 s"),
        (bgp(&["--bgpRestartTime", "2h"]), "--bgpRestartTime: a restart time"),
        (bgp(&["--bgpSource", "0.0.0.0"]), "--bgpSource: 0.0.0.0"),
        (bgp(&["--bgpNextHop", "127.0.0.1"]), "--bgpNextHop: 127.0.0.1"),
        (bgp(&["--bgpPrepend", "33"]), "--bgpPrepend: an AS number"),
        (bgp(&["--bgpCommunity", "no-such"]), "--bgpCommunity: \"no-such\" is no community"),
        (words(&["--gobgp", "127.0.0.1"]), "--gobgp goes with --bgp"),
        (bgp(&["--gobgp", "127.0.0.1:50051"]), "--bgpAs does not go with --gobgp"),
        (vec!["--bgp", "--gobgp", "127.0.0.1", "--bgpNextHop", "fd00::1"], "an address of IPv4"),
        (vec!["--bgp", "--gobgp", "localhost"], "--gobgp localhost: write it as ADDRESS:PORT"),
        (vec!["--arp", "--adapter", "eth0"], "--ipamRange is missing"),
        (vec![], "--ipamRange is missing"),
        (words(&["--dataplane", "ebpf"]), "there are auto, ipvs and user"),
        (vec!["--adapter", "lo", "--ipamRange", "127.0.0.85", "--dataplane", "ipvs"], "cannot be announced"),
        (vec!["--ipamRange", "127.0.0.90-127.0.0.85"], "--ipamRange: "),
        (vec!["--arp", "--ipamRange", "10.0.0.1"], "--adapter is missing"),
        (words(&["--port", "0"]), "--port 0"),
        (words(&["--arpInterval", "5 parsecs"]), "--arpInterval 5 parsecs"),
        (words(&["--reconcileInterval", "0s"]), "from 100ms"),
        (words(&["--reconcileInterval", "18446744073709551615s"]), "to 30days"),
        (words(&["--arpInterval", "1ns"]), "from 1s"),
        (words(&["--tcpTimeout", "0s"]), "--tcpTimeout 0s: it goes from 1s to 24days"),
        (words(&["--tcpFinTimeout", "25days"]), "--tcpFinTimeout 25days: it goes from 1s to 24days"),
        (words(&["--udpTimeout", "1500ms"]), "--udpTimeout 1s 500ms: the kernel counts whole seconds"),
        (words(&["--arpProbeInterval", "0s"]), "from 1ms"),
        (words(&["--config", "/nonexistent/slb.toml"]), "/nonexistent/slb.toml"),
    ] {
        let error = typed(&words).unwrap_err().to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

/// As the original's documentation has it, but for the ids.
const METAL: [&str; 8] = [
    "--adapter",
    "lo",
    "--bgp",
    "--equinixMetal",
    "--project",
    "0b2b6c5e-0d5b-4c3e-9a53-6a2f0a5c1d7e",
    "--facility",
    "am6",
];

#[test]
fn the_originals_command_line_for_equinix_metal_is_understood() {
    let metal = |more: &[&str], token: Option<&str>| {
        let (given, _) = given(parsed(&[&METAL[..], more].concat())).unwrap();
        Metal::from_given(&given, token.map(str::to_owned))
    };
    let found = metal(&[], Some("s3cret")).unwrap().unwrap();
    assert_eq!(found.api.to_string(), "https://api.equinix.com/metal/v1");
    assert_eq!((found.device, found.peering.peers.len()), (None, 0));
    assert!(!format!("{found:?}").contains("s3cret"));
    let more = ["--metalApiUrl", "http://127.0.0.1:8080", "--bgpPeer", "10.0.0.254:65530"];
    let found = metal(&more, Some("s3cret")).unwrap().unwrap();
    assert!(found.api.is_plain() && found.peering.peers.len() == 1);
    assert!(metal(&[], None).unwrap_err().to_string().contains("METAL_AUTH_TOKEN or PACKET_AUTH_TOKEN"));
    let error = metal(&[], Some("two words")).unwrap_err().to_string();
    assert!(error.contains("the token: ") && !error.contains("two words"), "{error}");
    let error = metal(&["--metalApiUrl", "https://me:s3cret@host"], Some("x")).unwrap_err().to_string();
    assert!(error.contains("--metalApiUrl") && !error.contains("s3cret"), "{error}");
}

#[test]
fn what_equinix_metal_cannot_have_or_needs_is_named() {
    let without = |word: &str, count: usize| {
        let at = METAL.iter().position(|other| *other == word).unwrap();
        [&METAL[..at], &METAL[at + count..]].concat()
    };
    let with = |more: &[&'static str]| [&METAL[..], more].concat();
    for (words, expected) in [
        (without("--bgp", 1), "goes with --bgp"),
        (with(&["--arp"]), "goes with --bgp"),
        (with(&["--ipamRange", "10.0.0.1"]), "--equinixMetal and --ipamRange exclude"),
        (without("--equinixMetal", 1), "go with --equinixMetal"),
        (without("--project", 2), "--project is missing"),
        (with(&["--metalDevice", "one"]), "--metalDevice one: that is no id"),
        (without("--facility", 2), "--facility or --metro is missing"),
        (with(&["--metro", "am"]), "exclude each other"),
        (with(&["--bgpAs", "65000"]), "leave them out"),
        (with(&["--bgpRouterId", "10.0.0.1"]), "leave them out"),
    ] {
        let (given, _) = given(parsed(&words)).unwrap();
        let error = Metal::from_given(&given, Some("x".to_owned())).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn announcing_again_can_be_switched_off() {
    let interval = |time| {
        typed(&[&ORIGINAL[..], &["--arpInterval", time]].concat()).map(|config| match config.vips {
            Vips::Own { announce: Announce::Arp { interval, .. }, .. } => interval,
            Vips::Own { announce: Announce::Nobody | Announce::Bgp { .. } | Announce::Gobgp { .. }, .. }
            | Vips::Metal(_) => {
                panic!("not by ARP")
            }
        })
    };
    assert_eq!(interval("0s"), Ok(None));
    assert_eq!(interval("90s"), Ok(Some(Duration::from_secs(90))));
}

#[test]
fn a_range_may_be_of_both_families() {
    let has_ipv6 = |range| typed(&["--arp", "--adapter", "eth0", "--ipamRange", range]).unwrap().vips.has_ipv6();
    assert!(has_ipv6("10.0.0.1-10.0.0.9, fd00::/64") && has_ipv6("fd00::1") && !has_ipv6("10.0.0.1"));
    let words = bgp(&["--bgpAggregation", "24", "--bgpAggregationIpv6", "64"]);
    let aggregation = peering(typed(&words).unwrap()).aggregation;
    assert_eq!((aggregation.length(Family::Ipv4), aggregation.length(Family::Ipv6)), (24, 64));
}

#[test]
fn the_range_is_checked_at_the_start() {
    for range in [
        "10.0.0.90-10.0.0.85",
        "10.0.0.1-",
        "10.0.0.1,10.0.0.1",
        "fish",
        "126.0.0.1-128.0.0.1",
        "::1,fd00::1",
        "fe80::/64",
    ] {
        let error = typed(&["--arp", "--adapter", "eth0", "--ipamRange", range]).unwrap_err().to_string();
        assert!(error.contains("--ipamRange"), "{error}");
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file: Given = toml::from_str("adapter = \"eth1\"\nport = 9000\narp = true\nipamRange = \"10.0.0.1\"").unwrap();
    let line = Given { adapter: Some("eth0".to_owned()), ..Given::default() };
    let config = Config::from_given(line.or(file)).unwrap();
    assert_eq!((config.adapter.as_str(), config.listen.port()), ("eth0", 9000));
}

#[test]
fn a_mistake_in_the_file_is_one_line_that_says_where() {
    let path = std::env::temp_dir().join(format!("slb-config-{}", std::process::id()));
    for (text, expected) in [
        ("arp = true\niparmRange = \"10.0.0.1\"\n", ":2: unknown field `iparmRange`"),
        ("\n\nadapter = \n", ":3: "),
        ("port = \"x\"", ":1: invalid type"),
        ("bgpPeer = { peer = \"10.0.0.254:65530:s3cret\" }", ":1: write a text in \"\", or a list of them in []"),
        ("bgpPeer = [\"10.0.0.254:65530:s3cret\", 7]", ":1: write a text"),
        ("bgpPeer = 10.0.0.254:65530:s3cret", ":1: "),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = File::read(&path).unwrap().options().unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n') && !error.contains("s3cret"), "{error}");
    }
    std::fs::write(&path, "[[loadbalancer]]\nname = \"web\"\nport = \"x\"\n").unwrap();
    let error = typed(&["--config", path.to_str().unwrap()]).unwrap_err().to_string();
    assert!(error.contains(":3: loadbalancer/0/port"), "nor does it hide behind what it should have said: {error}");
    std::fs::remove_file(&path).unwrap();
}

/// Near what is right, so that some of it is.
const FILE: &str = "(((adapter|ipamRange|reconcileInterval|udpTimeout|arpProbeInterval|arpInterval|logLevel|stateDir|address) = \
                    \"([a-z0-9./:, -]{0,12}|10\\.0\\.0\\.[0-9](/3[0-2]|-10\\.0\\.0\\.9)?|[0-9]{1,19}(ns|ms|s|m|y|years))\"|\
                    arp = true|bgp = false|port = -?[0-9]{1,6}|[a-zA-Z0-9\\[\\]=\"'. #-]{0,9})\n){0,8}";

proptest! {
    /// Whatever is in the file, reading it does not panic, and what is taken can be lived with.
    #[test]
    fn any_file_is_read_or_refused(text in FILE, is_whole: bool) {
        let whole = "arp = true\nadapter = \"eth0\"\nipamRange = \"10.0.0.1\"\n";
        let text = if is_whole { format!("{whole}{text}") } else { text };
        if let Ok(config) = toml::from_str::<Given>(&text).map_err(drop).and_then(|given| Config::from_given(given).map_err(drop)) {
            let of_arp = match config.vips {
                Vips::Own { announce: Announce::Arp { interval, probe_interval }, .. } => {
                    [interval, Some(probe_interval)]
                }
                Vips::Own { announce: Announce::Nobody | Announce::Bgp { .. } | Announce::Gobgp { .. }, .. } | Vips::Metal(_) => [None, None],
            };
            for interval in of_arp.into_iter().flatten().chain([config.reconcile_interval]) {
                prop_assert!(!interval.is_zero() && interval <= LONGEST, "{text}");
            }
            prop_assert!(config.listen.port() > 0 && !config.adapter.is_empty());
        }
    }
}
