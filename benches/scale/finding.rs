// SPDX-License-Identifier: Apache-2.0
//! What was measured, run by run, as JSON.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::docs;

/// What a line begins with that is a finding.
const MARK: &str = "found ";
/// Where they are kept.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results/scale.json");

/// Prints what was found, in a room of the benchmark, of one who does something, at so many load-balancers; a value for each run.
pub fn tell(room: &str, what: &str, load_balancers: u32, unit: &str, values: &[f64]) {
    println!("{}", as_line(room, what, load_balancers, unit, values));
}

fn as_line(room: &str, what: &str, load_balancers: u32, unit: &str, values: &[f64]) -> String {
    let short: Vec<f64> = values.iter().map(|value| (value * 1e6).round() / 1e6).collect();
    let found = json!({"room": room, "what": what, "loadBalancers": load_balancers, "unit": unit, "values": short});
    format!("{MARK}{found}")
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    part(values, 0.5)
}

/// What this part of them does not go beyond.
pub fn part(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[at]
}

/// The findings of a run, by room.
#[derive(Default)]
pub struct Findings(BTreeMap<String, Vec<Value>>);

impl Findings {
    /// Tells and takes what was found outside.
    pub fn tell(&mut self, room: &str, what: &str, load_balancers: u32, unit: &str, values: &[f64]) {
        let line = as_line(room, what, load_balancers, unit, values);
        println!("{line}");
        self.take(&line);
    }

    /// Takes a finding out of a line, if it is one.
    pub fn take(&mut self, line: &str) {
        let Some((_, found)) = line.split_once(MARK) else { return };
        if let Ok(mut found) = serde_json::from_str::<Value>(found)
            && let Some(Value::String(room)) = found.as_object_mut().and_then(|found| found.remove("room"))
        {
            self.0.entry(room).or_default().push(found);
        }
    }

    /// Puts them into the file, each room in place of what was there of it, and tells all of it in the docs.
    pub fn keep(self) {
        let mut all: BTreeMap<String, Vec<Value>> =
            fs::read_to_string(FILE).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        all.extend(self.0);
        let rooms: Vec<String> = all.iter().map(|(room, found)| room_as_text(room, found)).collect();
        fs::create_dir_all(Path::new(FILE).parent().unwrap()).unwrap();
        fs::write(FILE, format!("{{\n{}\n}}\n", rooms.join(",\n"))).unwrap();
        docs::write(&all);
    }
}

/// A finding a line.
fn room_as_text(room: &str, found: &[Value]) -> String {
    let lines: Vec<String> = found.iter().map(|found| format!("    {found}")).collect();
    format!("  {}: [\n{}\n  ]", json!(room), lines.join(",\n"))
}
