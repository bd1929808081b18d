// SPDX-License-Identifier: Apache-2.0
//! The part of `docs/benchmarks.md` that tells what was found, and its pictures.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use serde_json::Value;

use crate::{chart::Chart, finding::median};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
/// The lines in `benchmarks.md` between which it stands.
const BEGIN: &str = "<!-- scale: written by `make bench` -->\n";
const END: &str = "<!-- scale: end -->\n";

/// Writes both.
pub fn write(rooms: &BTreeMap<String, Vec<Value>>) {
    let findings = Told(rooms);
    let page = Path::new(FOLDER).join("benchmarks.md");
    let before = fs::read_to_string(&page).unwrap();
    let (head, rest) = before.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let (targets, pictures, tables) = (findings.targets(), findings.pictures(), findings.tables());
    fs::write(&page, format!("{head}{BEGIN}\n{targets}\n{pictures}{tables}\n{END}{tail}")).unwrap();
}

struct Told<'a>(&'a BTreeMap<String, Vec<Value>>);

impl Told<'_> {
    fn all(&self, room: &str) -> impl Iterator<Item = (&str, f64, &str, Vec<f64>)> {
        self.0.get(room).into_iter().flatten().filter_map(|found| {
            let values = found["values"].as_array()?.iter().filter_map(Value::as_f64).collect();
            Some((found["what"].as_str()?, found["loadBalancers"].as_f64()?, found["unit"].as_str()?, values))
        })
    }

    fn points(&self, room: &str, what: &str) -> Vec<(f64, f64)> {
        let ours = self.all(room).filter(|(each, ..)| *each == what);
        ours.map(|(_, at, _, values)| (at, median(&values))).filter(|(_, value)| *value > 0.0).collect()
    }

    fn of(&self, room: &str, what: &str, load_balancers: u32) -> Option<f64> {
        let at = f64::from(load_balancers);
        self.points(room, what).into_iter().find(|(each, _)| each.total_cmp(&at).is_eq()).map(|(_, value)| value)
    }

    /// Draws what has been measured, and shows it.
    fn pictures(&self) -> String {
        let ways = ["ipvsadm -R", "keepalived", "slb, ready", "slb", "programmed", "packed"];
        let cold = Chart {
            title: "from an empty kernel until all is programmed",
            x: "load-balancers of ten backends",
            y: "seconds",
            lines: self.lines("coldStart", &ways),
        };
        let memory = Chart {
            title: "resident memory",
            x: "load-balancers of ten backends",
            y: "KiB",
            lines: self.lines("reading", &["memory", "list, memory more"]),
        };
        let mut text = String::new();
        for (name, chart) in [("scale-cold-start.svg", cold), ("scale-memory.svg", memory)] {
            if !chart.lines.is_empty() {
                fs::write(Path::new(FOLDER).join(name), chart.svg()).unwrap();
                writeln!(text, "![{}]({name})\n", chart.title).unwrap();
            }
        }
        text
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
            ("look at 110,000 objects: unchanged / dump", "≤ 1.5", ratio(look("unchanged"), look("dump"))),
            (
                "look at 110,000 objects: `ipvsadm -Sn` / unchanged",
                "≥ 10",
                ratio(look("ipvsadm -Sn"), look("unchanged")),
            ),
            ("the limit of that: `ipvsadm -Sn` / dump", "", ratio(look("ipvsadm -Sn"), look("dump"))),
            ("a glance at them: `ipvsadm -Sn` / glance", "≥ 10", ratio(look("ipvsadm -Sn"), look("glance"))),
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

    /// All medians, and between what they lie.
    fn tables(&self) -> String {
        let mut text = String::from("| room | what | load-balancers | median | from | to | runs |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for room in self.0.keys() {
            for (what, at, unit, values) in self.all(room) {
                let [least, most] = [values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max)];
                let (median, least, most) =
                    (short(median(&values)), short(least.unwrap_or_default()), short(most.unwrap_or_default()));
                let runs = values.len();
                writeln!(text, "| {room} | {what} | {at} | {median} {unit} | {least} | {most} | {runs} |").unwrap();
            }
        }
        text
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    let digits = (2.0 - value.abs().max(1e-9).log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}
