// SPDX-License-Identifier: Apache-2.0
//! Settings of the kernel: set at once, and given back by the cleanup.

use super::*;
use crate::{cleanup::clean_up, sim::TIMEOUT};

fn setting(sim: &Sim, name: &str) -> String {
    sim.with(|remains| remains.settings[name].clone())
}

fn all_is_cleaned_up(sim: &Sim) {
    let Drivers { mut store, mut host, mut dataplane, .. } = drivers(sim, &[]);
    let disk = sim.with(|remains| remains.disk.clone());
    clean_up(&mut store, &mut host, Some(&mut dataplane), disk).now_or_never().unwrap().unwrap();
}

#[test]
fn an_adapter_that_came_back_has_its_settings_at_once() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let _ = server.created(1);
    sim.with(|remains| {
        remains.kernel = Observed::default();
        remains.settings.insert("forward".to_owned(), "0".to_owned());
    });
    server.events(&[HostEvent::LinkUp]);
    assert_eq!(setting(&sim, "forward"), "1");
    server.check();
}

#[test]
fn cleanup_takes_everything_away_and_keeps_the_records() {
    let sim = Sim::default();
    sim.with(|remains| remains.settings.insert("forward".into(), "0".into()));
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    assert_eq!(setting(&sim, "forward"), "1");
    drop(server);
    sim.with(|remains| remains.disk.adapter = Some("eth0".to_owned()));
    all_is_cleaned_up(&sim);
    assert_eq!(sim.with(|remains| remains.disk.adapter.clone()), None, "nobody has to go on with what was there");
    sim.with(|remains| {
        assert_eq!(remains.kernel, Observed::default());
        assert_eq!(remains.settings["forward"], "0");
        assert_eq!(remains.disk.load_balancers.len(), 1);
    });
    Server::start(&sim).unwrap().check();
}

/// Also if it was asked for twice, differently.
#[test]
fn a_setting_of_the_data_plane_is_given_back_as_it_was() {
    let sim = Sim::default();
    sim.with(|remains| remains.settings.insert(TIMEOUT.into(), "900".into()));
    for wish in ["600", "300"] {
        sim.with(|remains| remains.timeout = Some(wish.to_owned()));
        drop(Server::start(&sim).unwrap());
        assert_eq!(setting(&sim, TIMEOUT), wish);
    }
    all_is_cleaned_up(&sim);
    assert_eq!(setting(&sim, TIMEOUT), "900");
    // What somebody else set since is theirs.
    drop(Server::start(&sim).unwrap());
    sim.with(|remains| remains.settings.insert(TIMEOUT.into(), "100".into()));
    all_is_cleaned_up(&sim);
    assert_eq!(setting(&sim, TIMEOUT), "100");
}
