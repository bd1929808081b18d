// SPDX-License-Identifier: Apache-2.0
//! A bar for each finding, as long as it is many times that of the reference in the same room, as SVG.

use std::fmt::Write as _;

use super::{
    kept::{Rooms, median},
    table::{base, short, values},
};

/// In pixels: a bar with the space below it, where bars begin and how long the longest is, and all of it.
const STEP: f64 = 18.0;
const LEFT: f64 = 300.0;
const LONGEST: f64 = 260.0;
const WIDTH: f64 = 640.0;
/// The reference, and the others.
const COLOURS: [&str; 2] = ["#999999", "#0072b2"];

/// The picture.
pub(super) fn svg(rooms: &Rooms, references: &[&str]) -> String {
    let mut lines = Vec::new();
    for (room, found) in rooms {
        let Some(base) = base(found, references) else { continue };
        let bars = found.iter().filter_map(|found| {
            let (what, ratio) = (found["what"].as_str()?, median(&values(found)) / base);
            ratio.is_finite().then_some((what, Some(ratio)))
        });
        lines.push((room.as_str(), None));
        lines.extend(bars);
    }
    let most = lines.iter().filter_map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let height = STEP * (lines.len() as f64 + 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (at, (name, ratio)) in lines.into_iter().enumerate() {
        let y = STEP * (at as f64 + 1.0);
        let Some(ratio) = ratio else {
            writeln!(svg, "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{name}</text>").expect("text takes more");
            continue;
        };
        let (length, colour) = (LONGEST * ratio / most, COLOURS[usize::from(!references.contains(&name))]);
        writeln!(svg, "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0)
            .expect("text takes more");
        writeln!(svg, "<rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"13\" fill=\"{colour}\"/>", y - 11.0)
            .expect("text takes more");
        writeln!(svg, "<text x=\"{:.1}\" y=\"{y}\">{}</text>", LEFT + length + 6.0, short(ratio))
            .expect("text takes more");
    }
    svg + "</svg>\n"
}
