// SPDX-License-Identifier: Apache-2.0
//! A line chart as SVG, both axes logarithmic.

use std::fmt::Write as _;

/// Of the whole, and of what is around the field, in pixels.
const SIZE: (f64, f64) = (640.0, 360.0);
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 45.0;
/// Told apart by people who do not see all colours (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// What is drawn.
#[derive(Debug)]
pub struct Chart<'a> {
    /// Above it.
    pub title: &'a str,
    /// Below it.
    pub x: &'a str,
    /// Beside it.
    pub y: &'a str,
    /// Name and points; none at or below zero.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Chart<'_> {
    /// The picture.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points.iter());
        let x = Axis::of(points().map(|point| point.0), LEFT, SIZE.0 - RIGHT);
        let y = Axis::of(points().map(|point| point.1), SIZE.1 - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            SIZE.0, SIZE.1
        );
        let middle = f64::midpoint(LEFT, SIZE.0 - RIGHT);
        text(&mut svg, middle, TOP - 12.0, "middle", self.title);
        text(&mut svg, middle, SIZE.1 - 8.0, "middle", self.x);
        text(&mut svg, 8.0, TOP - 12.0, "start", self.y);
        for (value, at) in x.decades() {
            line(&mut svg, &[(at, TOP), (at, SIZE.1 - BOTTOM)], "#dddddd");
            text(&mut svg, at, SIZE.1 - BOTTOM + 16.0, "middle", &value.to_string());
        }
        for (value, at) in y.decades() {
            line(&mut svg, &[(LEFT, at), (SIZE.0 - RIGHT, at)], "#dddddd");
            text(&mut svg, LEFT - 6.0, at + 4.0, "end", &value.to_string());
        }
        for (at, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let placed: Vec<_> = points.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
            line(&mut svg, &placed, colour);
            for (x, y) in &placed {
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")
                    .expect("text takes more");
            }
            if let Some((x, y)) = placed.last() {
                text(&mut svg, x + 8.0, y + 4.0, "start", name);
            }
        }
        svg + "</svg>\n"
    }
}

fn line(svg: &mut String, points: &[(f64, f64)], colour: &str) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>", points.join(" "))
        .expect("text takes more");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>").expect("text takes more");
}

/// From one power of ten to another.
struct Axis {
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::MAX, f64::min);
        let most = values.fold(f64::MIN_POSITIVE, f64::max);
        let [first, last] = [least.log10().floor() as i32, most.log10().ceil() as i32];
        Self { first, last: last.max(first + 1), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from + part * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = (f64, f64)> {
        (self.first..=self.last).map(|power| 10_f64.powi(power)).map(|value| (value, self.at(value)))
    }
}
