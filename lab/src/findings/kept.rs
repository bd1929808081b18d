// SPDX-License-Identifier: Apache-2.0
//! What was found: printed as a line of JSON, taken out of what is printed, and kept in a file.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::page::folder;

/// What a line begins with that is a finding.
const MARK: &str = "found ";

/// Findings by room of a benchmark: `{"what":…,"unit":…,"values":[…]}`, and `loadBalancers` where that matters.
pub type Rooms = BTreeMap<String, Vec<Value>>;

/// Prints what was found, in a room of the benchmark, of one who does something; a value for each run.
pub fn tell(room: &str, what: &str, unit: &str, values: &[f64]) {
    print(&as_line(room, what, None, unit, values));
}

/// The same at so many load-balancers.
pub fn tell_at(room: &str, what: &str, load_balancers: u32, unit: &str, values: &[f64]) {
    print(&as_line(room, what, Some(load_balancers), unit, values));
}

#[expect(clippy::print_stdout, reason = "who follows the benchmark reads it")]
fn print(line: &str) {
    println!("{line}");
}

fn as_line(room: &str, what: &str, load_balancers: Option<u32>, unit: &str, values: &[f64]) -> String {
    let short: Vec<f64> = values.iter().map(|value| (value * 1e9).round() / 1e9).collect();
    let mut found = json!({"room": room, "what": what, "unit": unit, "values": short});
    if let Some(at) = load_balancers {
        found["loadBalancers"] = at.into();
    }
    format!("{MARK}{found}")
}

/// The one in the middle.
///
/// # Panics
/// There is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    part(values, 0.5)
}

/// What this part of them does not go beyond.
///
/// # Panics
/// There is none.
#[must_use]
pub fn part(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[at]
}

/// The findings of a run.
#[derive(Debug, Default)]
pub struct Findings(Rooms);

impl Findings {
    /// Tells and takes what was found outside.
    pub fn tell_at(&mut self, room: &str, what: &str, load_balancers: u32, unit: &str, values: &[f64]) {
        let line = as_line(room, what, Some(load_balancers), unit, values);
        print(&line);
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

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them into the file of the benchmark of that name, each room in place of what was there of it. Returns all of it.
    ///
    /// # Panics
    /// The file cannot be written.
    #[must_use]
    pub fn keep(self, name: &str) -> Rooms {
        let results = folder("benches/results");
        fs::create_dir_all(&results).expect("a folder for results");
        let file = results.join(format!("{name}.json"));
        let before = fs::read_to_string(&file).ok();
        let mut all: Rooms = before.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        all.extend(self.0);
        let rooms: Vec<String> = all.iter().map(|(room, found)| room_as_text(room, found)).collect();
        fs::write(file, format!("{{\n{}\n}}\n", rooms.join(",\n"))).expect("results are written");
        all
    }
}

/// A finding a line.
fn room_as_text(room: &str, found: &[Value]) -> String {
    let lines: Vec<String> = found.iter().map(|found| format!("    {found}")).collect();
    format!("  {}: [\n{}\n  ]", json!(room), lines.join(",\n"))
}
