// SPDX-License-Identifier: Apache-2.0
//! What has passed, counted where it passes, in the shape that IPVS reports.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use slb_core::statistics::{Counters, Counts};

/// Counts of a service or of a backend. TCP has no packets here: they are the kernel's, at either end.
#[derive(Debug, Default)]
pub struct Traffic {
    connections: AtomicU64,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    estimate: Mutex<Estimate>,
}

/// How much there is each second, as the kernel estimates it (ip_vs_est.c): a quarter of what is new counts.
#[derive(Debug, Default)]
struct Estimate {
    last: [u64; 5],
    each_second: [f64; 5],
}

impl Traffic {
    /// One more connection.
    pub fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// Bytes of a stream from a client.
    pub fn stream_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Relaxed);
    }

    /// Bytes of a stream to a client.
    pub fn stream_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Relaxed);
    }

    /// A datagram of so many bytes from a client.
    pub fn datagram_in(&self, bytes: usize) {
        self.packets_in.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    /// A datagram of so many bytes to a client.
    pub fn datagram_out(&self, bytes: usize) {
        self.packets_out.fetch_add(1, Relaxed);
        self.bytes_out.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    fn all(&self) -> [u64; 5] {
        [&self.connections, &self.packets_in, &self.packets_out, &self.bytes_in, &self.bytes_out]
            .map(|count| count.load(Relaxed))
    }

    /// Estimates anew; it has been so many seconds since the last time.
    pub fn estimate(&self, seconds: f64) {
        let all = self.all();
        let mut estimate = self.estimate.lock().unwrap_or_else(PoisonError::into_inner);
        let Estimate { last, each_second } = &mut *estimate;
        for ((now, last), rate) in all.into_iter().zip(last).zip(each_second) {
            #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
            let new = (now - *last) as f64 / seconds;
            *rate += (new - *rate) / 4.0;
            *last = now;
        }
    }

    /// What there is so far, and how much each second.
    pub fn counters(&self) -> Counters {
        let rate = self.estimate.lock().unwrap_or_else(PoisonError::into_inner).each_second;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float is cast to the nearest there is"
        )]
        let rate = rate.map(|rate| rate.round() as u64);
        Counters { total: counts(self.all()), rate: counts(rate) }
    }
}

fn counts([connections, packets_in, packets_out, bytes_in, bytes_out]: [u64; 5]) -> Counts {
    Counts { connections, packets_in, packets_out, bytes_in, bytes_out }
}
