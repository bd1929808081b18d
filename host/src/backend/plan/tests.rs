// SPDX-License-Identifier: Apache-2.0
//! Laws of the plan, on a model of a host.

use std::num::NonZeroU16;

use proptest::{collection::btree_set, option, prelude::*, sample::select};

use super::*;

/// A host that boots with two adapters, and some of what others may have done there.
fn host(ignore: &str, sit: Option<bool>, fallback: Option<&str>) -> Found {
    let adapter = |name: &str, has_arp| FoundAdapter {
        name: name.to_owned(),
        alias: None,
        is_up: true,
        has_arp,
        mtu: Some(1500),
    };
    let adapters = vec![adapter("lo", false), adapter("eth0", true), adapter("eth1.5", true)];
    let mut found = Found { adapters, ..Found::default() };
    found.adapters.extend(sit.map(|is_up| FoundAdapter { is_up, ..adapter(SIT, false) }));
    for (name, value) in [("all", "0"), ("eth0", ignore), ("eth1/5", "0")] {
        found.settings.insert(format!("net.ipv4.conf.{name}.arp_ignore"), value.to_owned());
        found.settings.insert(format!("net.ipv4.conf.{name}.arp_announce"), value.to_owned());
    }
    let clamps = Clamps { program: "iptables".to_owned(), set: BTreeSet::new() };
    found.clamps.insert(Family::V4, clamps);
    found.settings.extend(fallback.map(|value| (FALLBACK.to_owned(), value.to_owned())));
    found
}

/// What the kernel makes of a step.
fn take(found: &mut Found, step: &Kind) {
    let adapter = |found: &mut Found, name: &str, change: fn(&mut FoundAdapter)| {
        found.adapters.iter_mut().filter(|adapter| adapter.name == name).for_each(change);
    };
    match step.clone() {
        Kind::Add(device) => {
            assert!(!found.has(device.name()));
            let name = device.name().to_owned();
            found.adapters.push(FoundAdapter { name, alias: None, is_up: true, has_arp: false, mtu: Some(1480) });
        }
        Kind::Delete(device) => {
            found.adapters.retain(|adapter| adapter.name != device.name());
            found.addresses.retain(|address| address.adapter != device.name());
            found.settings.remove(&filter_of(device));
        }
        Kind::Note { to, .. } => {
            let slb0 = found.adapters.iter_mut().find(|adapter| adapter.name == Device::Vips.name());
            slb0.unwrap().alias = Some(to.to_string());
        }
        Kind::Set(change) => {
            let before = found.settings.insert(change.name, change.to);
            assert_eq!(before, Some(change.from));
        }
        Kind::Loosen(device) => drop(found.settings.insert(filter_of(device), "2".to_owned())),
        Kind::Up => adapter(found, SIT, |sit| sit.is_up = true),
        Kind::Down => adapter(found, SIT, |sit| sit.is_up = false),
        Kind::Bind(address, device) => {
            let ignored = |name: &str| found.settings[&format!("net.ipv4.conf.{name}.arp_ignore")] != "0";
            assert!(address.is_ipv6() || ignored("all") || ignored("eth0"), "it would answer for {address}");
            found.addresses.push(FoundAddress { adapter: device.name().to_owned(), address, prefix: 32 });
        }
        Kind::Unbind(address, device) => {
            found.addresses.retain(|other| other.adapter != device.name() || other.address != address);
        }
        Kind::Clamp(_, clamp) => {
            assert!(found.clamps.get_mut(&Family::of(clamp.0)).is_some_and(|clamps| clamps.set.insert(clamp)))
        }
        Kind::Unclamp(_, clamp) => {
            assert!(found.clamps.get_mut(&Family::of(clamp.0)).is_some_and(|clamps| clamps.set.remove(&clamp)))
        }
        Kind::Listen(family, port) => assert!(found.ports.insert((family, port))),
        Kind::Close(family, port) => assert!(found.ports.remove(&(family, port))),
    }
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let vips = select(vec!["192.168.0.85", "192.168.0.86", "2001:db8::85", "2001:db8::86"]);
    let tunnels = select(vec![Tunnel::Ipip, Tunnel::Gre, Tunnel::Gue(NonZeroU16::MIN), Tunnel::Gue(NonZeroU16::MAX)]);
    let over = btree_set(select(vec![Family::V4, Family::V6]), 0..3);
    let adapters = select(vec![vec![], vec!["eth0".to_owned()], vec!["eth0".to_owned(), "eth1.5".to_owned()]]);
    (btree_set(vips, 1..4), option::of(tunnels), over, adapters).prop_map(|(vips, tunnel, over, adapters)| {
        let over = if tunnel.is_some() { over } else { BTreeSet::new() };
        Wish::new(vips.into_iter().map(|vip| vip.parse().unwrap()), tunnel, over, adapters).unwrap()
    })
}

fn any_host() -> impl Strategy<Value = Found> {
    (select(vec!["0", "1", "2"]), option::of(any::<bool>()), option::of(select(vec!["0", "1", "2"])))
        .prop_map(|(ignore, sit, fallback)| host(ignore, sit, fallback))
}

proptest! {
    #[test]
    fn one_wish_after_the_other_leads_there_and_the_last_back(start in any_host(), wishes in prop::collection::vec(any_wish(), 1..4)) {
        let mut found = start.clone();
        for wish in &wishes {
            let plan = plan(wish, &found).unwrap();
            plan.build.iter().chain(&plan.take_down).for_each(|step| take(&mut found, step));
            let rest = super::plan(wish, &found).unwrap();
            prop_assert!(rest.is_empty(), "{rest}");
            let bound: BTreeSet<IpAddr> = found.addresses.iter().map(|address| address.address).collect();
            prop_assert_eq!(&bound, &wish.vips);
        }
        let undo = plan(&Wish::default(), &found).unwrap();
        undo.build.iter().chain(&undo.take_down).for_each(|step| take(&mut found, step));
        prop_assert_eq!(found, start);
    }

    #[test]
    fn building_is_taken_back_wherever_it_fails(start in any_host(), first in option::of(any_wish()), wish in any_wish(), after in 0..30_usize) {
        let mut found = start;
        if let Some(first) = first {
            let plan = plan(&first, &found).unwrap();
            plan.build.iter().chain(&plan.take_down).for_each(|step| take(&mut found, step));
        }
        let before = found.clone();
        let plan = plan(&wish, &found).unwrap();
        let done: Vec<&Kind> = plan.build.iter().take(after).collect();
        done.iter().for_each(|step| take(&mut found, step));
        let loosened: Vec<String> = done.iter().filter_map(|step| if let Kind::Loosen(device) = step { Some(filter_of(*device)) } else { None }).collect();
        done.iter().rev().filter_map(|step| step.inverse()).for_each(|step| take(&mut found, &step));
        loosened.iter().for_each(|name| drop(found.settings.remove(name)));
        prop_assert_eq!(found, before);
    }

    #[test]
    fn what_was_before_is_read_as_it_was_written(wish in any_wish(), start in any_host()) {
        let plan = plan(&wish, &start).unwrap();
        for step in &plan.build {
            if let Kind::Note { to, .. } = step {
                prop_assert_eq!(Record::parse(&to.to_string()), Some(to.clone()));
            }
        }
    }
}

#[test]
fn what_others_changed_meanwhile_stays() {
    let mut found = host("0", None, None);
    let wish = Wish::new(["192.168.0.85".parse().unwrap()], None, [], ["eth0".to_owned()]).unwrap();
    plan(&wish, &found).unwrap().build.iter().for_each(|step| take(&mut found, step));
    let name = "net.ipv4.conf.eth0.arp_ignore";
    found.settings.insert(name.to_owned(), "8".to_owned());
    let undo = plan(&Wish::default(), &found).unwrap();
    undo.take_down.iter().for_each(|step| take(&mut found, step));
    assert_eq!(found.settings[name], "8");
    assert_eq!(found.settings["net.ipv4.conf.eth0.arp_announce"], "0");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut found = host("0", None, None);
    let names: Vec<String> = (0..9).map(|number| format!("eth-{number}")).collect();
    for name in &names {
        found.adapters.push(FoundAdapter { name: name.clone(), ..FoundAdapter::default() });
        for key in ["arp_ignore", "arp_announce"] {
            found.settings.insert(format!("net.ipv4.conf.{name}.{key}"), "0".to_owned());
        }
    }
    let wish = Wish::new(["192.168.0.85".parse().unwrap()], None, [], names).unwrap();
    assert!(matches!(plan(&wish, &found), Err(Error::TooManyAdapters)));
}
