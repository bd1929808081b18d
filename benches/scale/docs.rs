// SPDX-License-Identifier: Apache-2.0
//! The part of `docs/benchmarks.md` that tells what was found, and its pictures.

use std::fmt::Write as _;

use slb_lab::findings::{Chart, Page, Rooms, median, short, table, values};

/// Writes both.
pub fn write(rooms: &Rooms) {
    let told = Told(rooms);
    let mut page = Page::of("scale");
    for (file, chart) in told.pictures() {
        page.picture(file, chart.title, &chart.svg());
    }
    page.write(&format!("{}\n{}", told.targets(), table(rooms, &[])));
}

struct Told<'a>(&'a Rooms);

impl Told<'_> {
    fn points(&self, room: &str, what: &str) -> Vec<(f64, f64)> {
        let ours = self.0.get(room).into_iter().flatten().filter(|found| found["what"] == what);
        let points = ours.filter_map(|found| Some((found["loadBalancers"].as_f64()?, median(&values(found)))));
        points.filter(|(_, value)| *value > 0.0).collect()
    }

    fn of(&self, room: &str, what: &str, load_balancers: u32) -> Option<f64> {
        let at = f64::from(load_balancers);
        self.points(room, what).into_iter().find(|(each, _)| each.total_cmp(&at).is_eq()).map(|(_, value)| value)
    }

    /// What has been measured, by the names of their files.
    fn pictures(&self) -> impl Iterator<Item = (&'static str, Chart<'static>)> {
        let ways = ["ipvsadm -R", "keepalived", "slb, ready", "slb", "programmed", "packed"];
        let looks = ["ipvsadm -Sn", "drifted", "unchanged", "dump", "glance"];
        let charts = [
            ("scale-cold-start.svg", "from an empty kernel until all is programmed", "seconds", "coldStart", &ways[..]),
            ("scale-look.svg", "a look at all that is programmed", "seconds", "reconcile", &looks),
            ("scale-memory.svg", "resident memory", "KiB", "reading", &["memory", "list, memory more"]),
        ];
        let charts = charts.map(|(file, title, y, room, all)| {
            (file, Chart { title, x: "load-balancers of ten backends", y, lines: self.lines(room, all) })
        });
        charts.into_iter().filter(|(_, chart)| !chart.lines.is_empty())
    }

    /// Those that were measured.
    fn lines(&self, room: &str, all: &[&str]) -> Vec<(String, Vec<(f64, f64)>)> {
        let lines = all.iter().map(|what| ((*what).to_owned(), self.points(room, what)));
        lines.filter(|(_, points)| !points.is_empty()).collect()
    }

    /// What was aimed at, and what came of it.
    fn targets(&self) -> String {
        let ratio = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
        let cold = |what, at| self.of("coldStart", what, at);
        let look = |what| self.of("reconcile", what, 10_000);
        let change = |what| ratio(self.of("change", what, 10_000), self.of("change", what, 1));
        let bulk = |what| self.of("bulk", what, 10_000).map(|memory| memory * 1024.0 / 1e6);
        let memory = |at| self.of("reading", "memory", at);
        let take_over = |other: &str| ratio(self.of("takeOver", "slb", 1_000), self.of("takeOver", other, 1_000));
        let each = |what| {
            let of = |at| self.of("reading", what, at);
            of(10_000).zip(of(1)).map(|(many, few)| (many - few) * 1024.0 / 100_000.0)
        };
        let rate = |room, clients| self.of(room, &format!("POST, {clients} at a time"), 1);
        let durable = |room| ratio(rate(room, 64), rate(room, 1));
        let rows = [
            ("cold start of 2,000: slb beyond 1.25 × packed, s", "≤ 0.15", {
                cold("slb", 2_000).zip(cold("packed", 2_000)).map(|(slb, packed)| slb - 1.25 * packed)
            }),
            ("the kernel's part of that: as many pages of memory touched, s", "", cold("slb, pages", 2_000)),
            ("cold start of 2,000: `ipvsadm -R` / slb", "≥ 40", ratio(cold("ipvsadm -R", 2_000), cold("slb", 2_000))),
            ("cold start of 2,000: keepalived / slb", "≥ 8", ratio(cold("keepalived", 2_000), cold("slb", 2_000))),
            ("cold start: 10,000 / 2,000", "≤ 5.5", ratio(cold("slb", 10_000), cold("slb", 2_000))),
            ("nothing has changed at 110,000 objects: glance / dump", "≤ 1.5", ratio(look("glance"), look("dump"))),
            ("the same: `ipvsadm -Sn` / glance", "≥ 10", ratio(look("ipvsadm -Sn"), look("glance"))),
            ("a look at all of it, which is rare: look / dump", "≤ 1.5", ratio(look("unchanged"), look("dump"))),
            ("the same: `ipvsadm -Sn` / look", "", ratio(look("ipvsadm -Sn"), look("unchanged"))),
            ("its limit: `ipvsadm -Sn` / dump", "", ratio(look("ipvsadm -Sn"), look("dump"))),
            ("a backend's weight: 110,000 objects / 11", "≤ 1.2", change("weight")),
            ("a backend more and less: 110,000 objects / 11", "≤ 1.2", change("backend")),
            ("a load-balancer more and less: 110,000 objects / 11", "≤ 1.2", change("load-balancer")),
            ("the kernel's part of that: an address bound and taken off, 110,000 objects / 11", "", change("address")),
            ("durable creations a second: 64 clients / one", "≥ 10", durable("durable")),
            ("the same, 20 ms a write, in the lab's kernel", "≥ 10", durable("durable, 20 ms a write")),
            ("the same, 50 ms a write, in the lab's kernel", "≥ 10", durable("durable, 50 ms a write")),
            ("memory of a backend, bytes", "≤ 120", each("memory")),
            ("the same after four minutes, with looks at all of it", "≤ 120", each("memory, after looks")),
            ("resident with 110,000 objects, MB", "≤ 64", memory(10_000).map(|memory| memory * 1024.0 / 1e6)),
            ("the same after one request for all of them, MB", "≤ 64", bulk("memory")),
            ("its peak, MB", "", bulk("memory, peak")),
            ("binary, MB", "≤ 12", self.of("reading", "binary", 1).map(|bytes| bytes / 1e6)),
            ("1,000 VIPs taken over and heard of: slb / keepalived, spread", "", take_over("keepalived, spread")),
            ("the same: slb / keepalived, which sends all at once", "", take_over("keepalived")),
            ("from a check's answer until the weight is 0: 110,000 objects / 11", "≤ 1.2", {
                ratio(self.of("transition", "down", 10_000), self.of("transition", "down", 1))
            }),
            (
                "throughput: slb / by hand",
                "1",
                ratio(self.of("throughput", "slb", 1), self.of("throughput", "by hand", 1)),
            ),
        ];
        let mut text = String::from("| | aim | found |\n| --- | --- | --- |\n");
        for (what, aim, found) in rows {
            writeln!(text, "| {what} | {aim} | {} |", found.map_or_else(|| "–".to_owned(), short)).unwrap();
        }
        text
    }
}
