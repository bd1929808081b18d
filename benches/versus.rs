// SPDX-License-Identifier: Apache-2.0
//! How quick slb is in user space, beside HAProxy and nginx: throughput by iperf3, and requests on a connection each by wrk, as ratios
//! to the same without a proxy. All in one run on this machine's kernel, in a network namespace with nothing but loopback.
//!
//! Each round does every row with every contender, and another one is the first each time. The ratios are those of a round, since a
//! machine is not as quick from one second to the next; the median of the rounds counts.
//!
//! The clients, the backends and the proxy share the processors. So the throughput says what a proxy leaves of them to the others, and
//! "processor" what it takes itself.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints; what goes wrong panics"
)]

#[path = "versus/contender.rs"]
mod contender;
#[path = "versus/load.rs"]
mod load;

use std::{env, process::Command};

use self::{
    contender::{CLOSING, Contender},
    load::{Backends, Load},
};

/// How often each is measured.
const ROUNDS: usize = 3;
/// Of the quicker one of the others, slb reaches at least this part.
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
    let mut behind = Vec::new();
    for ((load, connections), of_row) in ROWS.into_iter().zip(samples) {
        println!("{connections} connections, {}", load.what());
        let direct = &of_row[0];
        let mut ratios = Vec::new();
        for (contender, of_one) in contenders.iter().zip(&of_row) {
            let rate = load.shown(median(of_one.iter().map(|sample| sample.rate)));
            let ratio = median(of_one.iter().zip(direct).map(|(sample, direct)| sample.rate / direct.rate));
            let processor = load.shown_processor(median(of_one.iter().map(|sample| sample.processor)));
            println!("  {:<18}{rate} {ratio:>6.2} x  processor {processor}", contender.name);
            if contender.name != CLOSING {
                ratios.push(ratio);
            }
        }
        let [_, slb, others @ ..] = &ratios[..] else { continue };
        let ratio = slb / others.iter().copied().fold(0.0, f64::max);
        println!("  {:<18}{ratio:>20.2} x of the quickest other", "slb");
        if ratio < AIM {
            behind.push(format!("{connections} connections, {}: {ratio:.2}", load.what()));
        }
    }
    assert!(behind.is_empty(), "slb is less than {AIM} of the quickest other: {behind:#?}");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.iter().any(|word| word == COMPARE) {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success(), "loopback");
        compare();
    } else {
        // It goes with the process.
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net"]).arg(env::current_exe().unwrap()).arg(COMPARE);
        assert!(unshare.status().unwrap().success(), "the comparison");
    }
}
