// SPDX-License-Identifier: Apache-2.0
//! How quick slb is in user space, beside HAProxy and nginx: throughput by iperf3, and requests on a connection each by wrk, as ratios
//! to the same without a proxy. All in one run on this machine's kernel, in a network namespace with nothing but loopback.
//!
//! Each round does every row with every contender, and another one is the first each time. The ratios are those of a round, since a
//! machine is not as quick from one second to the next; the median of the rounds counts, and the quartiles say how far it can be trusted.
//!
//! The clients, the backends and the proxy share the processors. So the throughput says what a proxy leaves of them to the others, and
//! "processor" what it takes itself.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints; what goes wrong panics"
)]

#[path = "binary.rs"]
mod binary;
#[path = "versus/contender.rs"]
mod contender;
#[path = "versus/load.rs"]
mod load;

use std::{
    env, fmt,
    process::{Command, ExitCode},
};

use slb_lab::findings::{self, tell};

use self::{
    contender::{CLOSING, Contender, DIRECT},
    load::{Backends, Load},
};

/// How often each is measured. Many short rounds say more than few long ones: what disturbs one of them is not the median.
const ROUNDS: usize = 11;
/// Of the quickest one of the others, slb reaches at least this part.
const AIM: f64 = 0.95;
/// Makes the benchmark compare in the network namespace that it is in.
const COMPARE: &str = "compare";

/// What is compared, by line.
const ROWS: [(Load, usize); 6] = [
    (Load::Stream, 1),
    (Load::Stream, 10),
    (Load::Stream, 100),
    (Load::Requests, 1),
    (Load::Requests, 10),
    (Load::Requests, 100),
];

/// What one contender did in one row of one round.
#[derive(Clone, Copy)]
struct Sample {
    /// Bytes or requests, in a second.
    rate: f64,
    /// The processor time of the proxy for each of them, in seconds.
    processor: f64,
}

fn compare() {
    let _backends = Backends::start();
    let contenders = Contender::all();
    // By row, and then by contender.
    let mut samples = ROWS.map(|_| contenders.each_ref().map(|_| Vec::new()));
    for round in 0..ROUNDS {
        for (row, (load, connections)) in ROWS.into_iter().enumerate() {
            for turn in 0..contenders.len() {
                let at = (round + row + turn) % contenders.len();
                let before = contenders[at].processor_time();
                let done = load.run(contenders[at].address, connections);
                let processor = (contenders[at].processor_time() - before).as_secs_f64() / done.amount;
                samples[row][at].push(Sample { rate: done.rate, processor });
            }
        }
    }
    let behind: Vec<String> = ROWS
        .into_iter()
        .zip(&samples)
        .filter_map(|((load, connections), of_row)| {
            let row = format!("{connections} connections, {}", load.what());
            let ratio = report(load, &row, &contenders, of_row);
            (ratio < AIM).then(|| format!("{row}: {ratio:.2}"))
        })
        .collect();
    assert!(behind.is_empty(), "slb is less than {AIM} of the quickest other: {behind:#?}");
}

/// Tells of a row; what slb reaches of the quickest other.
fn report(load: Load, row: &str, contenders: &[Contender; 6], samples: &[Vec<Sample>; 6]) -> f64 {
    let [direct, slb, ..] = samples;
    let mut quickest: Option<(Spread, usize)> = None;
    for (at, (contender, of_one)) in contenders.iter().zip(samples).enumerate() {
        let all = |of: fn(&Sample) -> f64| of_one.iter().map(of).collect::<Vec<f64>>();
        tell(row, contender.name, load.unit(), &all(|sample| sample.rate));
        if at > 0 {
            tell(&format!("{row}, processor"), contender.name, "s", &all(|sample| sample.processor));
        }
        let ratio = ratios(of_one, direct);
        let is_compared = at > 1 && contender.name != CLOSING;
        if is_compared && quickest.is_none_or(|(before, _)| before.median < ratio.median) {
            quickest = Some((ratio, at));
        }
    }
    let (_, quickest) = quickest.unwrap();
    let ratio = ratios(slb, &samples[quickest]);
    println!("{row}: slb {ratio} x of {}", contenders[quickest].name);
    ratio.median
}

/// Of each round.
fn ratios(of_one: &[Sample], to: &[Sample]) -> Spread {
    Spread::of(of_one.iter().zip(to).map(|(one, other)| one.rate / other.rate))
}

/// Half of the values are between the quartiles.
#[derive(Clone, Copy)]
struct Spread {
    lower: f64,
    median: f64,
    upper: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let [lower, median, upper] = [1, 2, 3].map(|quarters| values[values.len() * quarters / 4]);
        Self { lower, median, upper }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.lower, self.upper)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.iter().any(|word| word == COMPARE) {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success(), "loopback");
        compare();
        return ExitCode::SUCCESS;
    }
    findings::main("versus", &[DIRECT], || {
        if findings::is_listing() {
            return ExitCode::SUCCESS;
        }
        // It goes with the process.
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net"]).arg(env::current_exe().unwrap()).arg(COMPARE);
        assert!(unshare.status().unwrap().success(), "the comparison");
        ExitCode::SUCCESS
    })
}
