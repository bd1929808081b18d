// SPDX-License-Identifier: Apache-2.0
//! Who adds backends, removes, kills, revives, drains and weighs them, at random.

use std::{collections::BTreeMap, sync::atomic::Ordering, thread, time::Duration};

use serde_json::{Value, json};
use slb_lab::{Dice, Loopback};

use crate::{
    backend::{Backend, Id},
    clients::Load,
    history::Cause,
};

/// There are never fewer that work, so that a client whose backend goes has another one to go to.
const FEWEST: usize = 3;
const MOST: usize = 7;
const LONGEST_PAUSE_MS: u64 = 300;

/// What is done, and how often it was.
pub type Done = BTreeMap<&'static str, u32>;

/// A backend, and where the API has it: of the load-balancer of each protocol.
#[derive(Debug)]
pub struct Member {
    port: u16,
    /// `None` while it is dead.
    backend: Option<Backend>,
    is_draining: bool,
    paths: Vec<String>,
}

/// The operator.
#[derive(Debug)]
pub struct Operator<'a> {
    server: &'a Loopback,
    load: &'a Load,
    /// Of both load-balancers.
    paths: Vec<String>,
    members: Vec<Member>,
    next: Id,
    done: Done,
}

impl<'a> Operator<'a> {
    /// With as many backends as there have to be.
    pub fn new(server: &'a Loopback, load: &'a Load, load_balancers: &[Value]) -> Self {
        let paths =
            load_balancers.iter().map(|each| format!("/loadbalancer/{}/backend", each["uuid"].as_str().unwrap()));
        let mut new = Self { server, load, paths: paths.collect(), members: Vec::new(), next: 0, done: Done::new() };
        while new.members.len() <= FEWEST {
            new.add();
        }
        new
    }

    /// Changes one thing after the other until the end; says how often what was done, and who is left.
    pub fn run(mut self, mut dice: Dice) -> (Done, Vec<Member>) {
        while !self.load.stop.load(Ordering::Acquire) {
            self.finish_drains();
            let index = usize::try_from(dice.roll(self.members.len() as u64)).unwrap();
            let working = self.members.iter().filter(|member| member.backend.is_some() && !member.is_draining).count();
            let member = &self.members[index];
            let is_dead = member.backend.is_none();
            let may_go = working > FEWEST && !is_dead && !member.is_draining;
            match dice.roll(6) {
                0 | 1 if is_dead => self.revive(index),
                0 if self.members.len() < MOST => self.add(),
                1 if may_go => self.kill(index),
                2 if may_go => self.remove(index),
                3 | 4 if may_go => self.drain(index),
                5 if !member.is_draining => self.weigh(index, 1 + dice.roll(5)),
                _ => {}
            }
            thread::sleep(Duration::from_millis(dice.roll(LONGEST_PAUSE_MS)));
        }
        (self.done, self.members)
    }

    fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// `None` if the port is in use: a client may have it for its own end while the backend is dead.
    fn start(&mut self, port: u16) -> Option<Backend> {
        self.next += 1;
        Backend::start(self.next, port).ok()
    }

    fn add(&mut self) {
        // A port that is free for TCP may not be for UDP, and one of a dead backend is not free for another.
        let Some(backend) = self.start(0) else { return };
        if self.members.iter().any(|member| member.port == backend.port) {
            return;
        }
        let body = json!({"ip": "127.0.0.1", "port": backend.port}).to_string();
        let paths = self.paths.iter().map(|path| {
            let added = self.server.create(path, &body);
            format!("{path}/{}", added["uuid"].as_str().unwrap())
        });
        let paths = paths.collect();
        self.members.push(Member { port: backend.port, backend: Some(backend), is_draining: false, paths });
        self.did("added");
    }

    /// It dies, and slb has to find out.
    fn kill(&mut self, index: usize) {
        if let Some(backend) = self.members[index].backend.take() {
            self.load.history.lose(backend.id, Cause::Killed, || drop(backend));
            self.did("killed");
        }
    }

    fn revive(&mut self, index: usize) {
        if let Some(backend) = self.start(self.members[index].port) {
            self.members[index].backend = Some(backend);
            self.did("revived");
        }
    }

    /// Its connections are cut.
    fn remove(&mut self, index: usize) {
        let member = self.members.remove(index);
        let delete = || {
            for path in &member.paths {
                let deleted = self.server.ask("DELETE", path, "");
                assert_eq!(deleted.status, 204, "{}", deleted.body);
            }
        };
        let id = member.backend.as_ref().map(|backend| backend.id).unwrap_or_default();
        self.load.history.lose(id, Cause::Removed, delete);
        self.did("removed");
    }

    fn drain(&mut self, index: usize) {
        let member = &mut self.members[index];
        for path in &member.paths {
            let drained = self.server.ask("DELETE", &format!("{path}?drain=10m"), "");
            assert_eq!(drained.status, 202, "{}", drained.body);
        }
        member.is_draining = true;
        if let Some(backend) = &member.backend {
            self.load.history.drain(backend.id);
        }
        self.did("drained");
    }

    /// What slb has deleted at last, nobody uses.
    fn finish_drains(&mut self) {
        let is_gone = |path: &String| self.server.ask("GET", path, "").status == 404;
        let is_over = |member: &Member| member.is_draining && member.paths.iter().all(is_gone);
        let before = self.members.len();
        self.members.retain(|member| !is_over(member));
        for _ in self.members.len()..before {
            self.did("drained to the end");
        }
    }

    fn weigh(&mut self, index: usize, weight: u64) {
        for path in &self.members[index].paths {
            let changed = self.server.ask("PATCH", path, &json!({"weight": weight}).to_string());
            assert_eq!(changed.status, 200, "{}", changed.body);
        }
        self.did("weighed");
    }
}
