// SPDX-License-Identifier: Apache-2.0
//! Findings as a table.

use serde_json::Value;

use super::kept::{Rooms, median};

/// All medians, between what they lie, and how many times that of the reference in the same room they are. Empty `references`: without that.
#[must_use]
pub fn table(rooms: &Rooms, references: &[&str]) -> String {
    let is_of_many = rooms.values().flatten().any(|found| found.get("loadBalancers").is_some());
    let mut head = vec!["room", "what"];
    head.extend(is_of_many.then_some("load-balancers"));
    head.extend(["median", "from", "to", "runs"]);
    let ratio = format!("× {}", references.join(" or "));
    head.extend((!references.is_empty()).then_some(ratio.as_str()));
    let mut text = row(&head) + &row(&vec!["---"; head.len()]);
    for (room, found) in rooms {
        let base = base(found, references);
        for found in found {
            let (values, unit) = (values(found), found["unit"].as_str().unwrap_or_default());
            let end = |of: fn(f64, f64) -> f64| short(values.iter().copied().reduce(of).unwrap_or_default());
            let mut cells = vec![room.clone(), found["what"].as_str().unwrap_or_default().to_owned()];
            if is_of_many {
                cells.push(found["loadBalancers"].to_string());
            }
            cells.push(format!("{} {unit}", short(median(&values))).trim_end().to_owned());
            cells.extend([end(f64::min), end(f64::max), values.len().to_string()]);
            if !references.is_empty() {
                let ratio = base.map(|base| median(&values) / base).filter(|ratio| ratio.is_finite());
                cells.push(ratio.map_or_else(|| "–".to_owned(), short));
            }
            text += &row(&cells);
        }
    }
    text
}

/// The median of that finding of a room that is one of the references.
pub(super) fn base(found: &[Value], references: &[&str]) -> Option<f64> {
    let is_base = |found: &&Value| found["what"].as_str().is_some_and(|what| references.contains(&what));
    found.iter().find(is_base).map(|found| median(&values(found)))
}

/// A finding's, of each run.
#[must_use]
pub fn values(found: &Value) -> Vec<f64> {
    found["values"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// Three digits that count.
#[must_use]
pub fn short(value: f64) -> String {
    let digits = (2.0 - value.abs().max(1e-9).log10().floor()).max(0.0) as usize;
    if value == 0.0 { "0".to_owned() } else { format!("{value:.digits$}") }
}

fn row(cells: &[impl AsRef<str>]) -> String {
    let mut text = String::from("|");
    for cell in cells {
        text += &format!(" {} |", cell.as_ref());
    }
    text + "\n"
}
