// SPDX-License-Identifier: Apache-2.0
//! What was found: printed as a line of JSON, taken out of what is printed, and kept in a file.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::{Value, json};

use super::page::folder;

/// What a line begins with that is a finding.
const MARK: &str = "found ";

/// Findings by room of a benchmark: `{"commit":…,"what":…,"unit":…,"values":[…]}`, and `loadBalancers` where that matters.
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
    assert!(values.iter().all(|value| value.is_finite()), "{room}, {what}: {values:?}");
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
pub struct Findings {
    rooms: Rooms,
    garbled: usize,
}

impl Findings {
    /// Tells and takes what was found outside.
    pub fn tell_at(&mut self, room: &str, what: &str, load_balancers: u32, unit: &str, values: &[f64]) {
        let line = as_line(room, what, Some(load_balancers), unit, values);
        print(&line);
        self.take(&line);
    }

    /// Takes a finding out of a line, if it is one.
    pub fn take(&mut self, line: &str) {
        let Some((_, found)) = line.split_once(MARK).filter(|(_, found)| found.starts_with('{')) else { return };
        let mut found = serde_json::from_str::<Value>(found).ok();
        let room = found.as_mut().and_then(|found| found.as_object_mut()?.remove("room"));
        if let (Some(found), Some(Value::String(room))) = (found, room) {
            self.rooms.entry(room).or_default().push(found);
        } else {
            self.garbled += 1;
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Whether each line with a finding could be read: what a kernel says may run into one.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.garbled == 0
    }

    /// Puts them into the file of the benchmark of that name, each in place of what was there of the same, with the commit that is checked out.
    /// Returns all of it.
    ///
    /// # Panics
    /// The file holds something else, or cannot be written.
    #[must_use]
    pub fn keep(self, name: &str) -> Rooms {
        let results = folder("benches/results");
        fs::create_dir_all(&results).expect("a folder for results");
        let file = results.join(format!("{name}.json"));
        let before = fs::read_to_string(&file).ok();
        let read = |text: String| serde_json::from_str(&text).expect("what was found before");
        let mut all: Rooms = before.map(read).unwrap_or_default();
        let commit = commit();
        for (room, found) in self.rooms {
            let all = all.entry(room).or_default();
            for mut found in found {
                found["commit"] = commit.clone().into();
                let is_same =
                    |other: &&mut Value| ["what", "loadBalancers"].iter().all(|name| other[name] == found[name]);
                match all.iter_mut().find(is_same) {
                    Some(before) => *before = found,
                    None => all.push(found),
                }
            }
        }
        let rooms: Vec<String> = all.iter().map(|(room, found)| room_as_text(room, found)).collect();
        fs::write(file, format!("{{\n{}\n}}\n", rooms.join(",\n"))).expect("results are written");
        all
    }
}

/// What is checked out: its commit, and whether it was changed since.
fn commit() -> String {
    let mut git = Command::new("git");
    let said =
        git.args(["describe", "--always", "--dirty"]).current_dir(folder("docs")).output().map(|done| done.stdout);
    String::from_utf8_lossy(&said.unwrap_or_default()).trim().to_owned()
}

/// A finding a line.
fn room_as_text(room: &str, found: &[Value]) -> String {
    let lines: Vec<String> = found.iter().map(|found| format!("    {found}")).collect();
    format!("  {}: [\n{}\n  ]", json!(room), lines.join(",\n"))
}
