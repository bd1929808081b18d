// SPDX-License-Identifier: Apache-2.0
//! Creations and deletions that are on a slow disk when they are answered, from one client and from 64: a disk that, as memory cards do,
//! confirms nothing before it is written, and takes 20 or 50 ms for each write. It is a disk in memory behind dm-delay, with 10 and 40 ms: the
//! clock of the lab's kernel adds ten. Beside it, how many writes in turn it confirms in a second.

use std::{path::Path, process::Command};

use slb_lab::{Server, findings::tell_at};

use crate::{
    durable::confirmed,
    fleet::{Fleet, Host, on_a_runtime},
    process,
    requests::Rates,
};

/// What dm-delay is told, in milliseconds, and the room.
const DISKS: [(u32, &str); 2] = [(10, "durable, 20 ms a write"), (40, "durable, 50 ms a write")];
const CLIENTS: [(usize, usize); 2] = [(1, 30), (64, 640)];
const ROUNDS: usize = 3;
/// Writes that are confirmed, for the limit.
const WRITES: usize = 30;
/// Where the disk is found.
const FOLDER: &str = "/run/slow";
/// Prepares a disk in memory, of 64 MB.
const PREPARE: &str = "
    mkdir -p /run/dev /run/slow
    mount -t devtmpfs dev /run/dev
    /run/modprobe brd rd_nr=1 rd_size=65536
    /run/modprobe dm-delay";

pub fn measure() {
    sh(PREPARE);
    DISKS.into_iter().for_each(|(delay, room)| measure_on(delay, room));
}

fn measure_on(delay: u32, room: &str) {
    sh(&format!(
        "export DM_DEV_DIR=/run/dev
        mkfs.ext4 -q -F /run/dev/ram0
        dmsetup --noudevsync create slow --table '0 131072 delay /run/dev/ram0 0 0 /run/dev/ram0 0 {delay}'
        mount /run/dev/mapper/slow {FOLDER}"
    ));
    let host = Host::new();
    let slb = process::start_in(&format!("{FOLDER}/state"), Fleet(1), 4_000, &host);
    let mut found = [Rates::default(), Rates::default()];
    let mut disk = Vec::new();
    for _ in 0..ROUNDS {
        disk.push(confirmed(&Path::new(FOLDER).join("file"), WRITES));
        for ((clients, count), found) in CLIENTS.iter().zip(&mut found) {
            host.node.inside(|| on_a_runtime(found.round(Server::api(), *clients, *count)));
        }
    }
    tell_at(room, "fsync", 1, "/s", &disk);
    for ((clients, _), found) in CLIENTS.iter().zip(&found) {
        found.tell(*clients, |what, unit, values| tell_at(room, what, 1, unit, values));
    }
    drop(slb);
    host.flush();
    sh(&format!("umount {FOLDER}; DM_DEV_DIR=/run/dev dmsetup --noudevsync remove slow"));
}

fn sh(line: &str) {
    let done = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
