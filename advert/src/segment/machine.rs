// SPDX-License-Identifier: Apache-2.0
//! Who is told what, and when: RFC 5227 as a pure machine, for ARP and for neighbour discovery alike. It is given the time and what was
//! heard, and answers with what to send and to report.
//!
//! ```text
//!            probe                   the last interval passed unanswered
//! (unknown) ───────▶ probed, n left ────────────────────────────────────▶ Free
//!                     │ ▲ interval: send Probe, n−1
//!                     │ └─┘
//!                     └─ somebody claims it, or probes for it too ──────▶ InUse
//!
//!             advertise                    n = 0
//! (withdrawn) ─────────▶ announced, n left ─────▶ refreshed
//!      ▲                  │ ▲ interval: send       │ ▲ interval: send Announce
//!      │                  │ └─┘ Announce, n−1      │ └─┘
//!      └───── withdraw ───┴────────────────────────┘
//! in either: somebody claims it ─▶ send Announce and report Conflict, at most once per defend interval
//! ```
//!
//! An announcement is one frame in each of its forms. Of VIPs that are advertised together all are told of in the first form, and then in the
//! next: a host that takes over a thousand is heard of in half the time. Who heeds the last form alone hears as late as before, or later.
//!
//! A VIP is never given up: RFC 5227 section 2.4 (c) allows that to hosts whose address others rely on, if they send no more than
//! one defence per `DEFEND_INTERVAL` and tell the administrator, no more often than useful. Both happen here at the same moments.

use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

use slb_core::model::Vip;

use super::{agenda::Agenda, mac::Mac, pace::Pace, protocol::Heard, timing::Timing};

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Send a probe.
    Probe(Vip),
    /// Send an announcement in one of its forms, by its number.
    Announce(Vip, usize),
    /// The probing of this address is over, nobody has it.
    Free(Vip),
    /// The probing of this address is over, this host has it or is about to take it.
    InUse(Vip, Mac),
    /// Another host claims an advertised VIP. The defence is under way.
    Conflict {
        /// The VIP.
        vip: Vip,
        /// Who claims it.
        holder: Mac,
        /// How many claims were heard since the last report, with this one.
        claims: u64,
    },
}

/// An advertised VIP.
#[derive(Debug, Default)]
struct Advertised {
    /// Announcements until only the refresh is left.
    left: u8,
    /// The form that is sent next.
    form: usize,
    /// When it was last defended.
    defended: Option<Instant>,
    /// Claims that were heard but not reported.
    claims: u64,
}

/// The machine. After each call that changes it, [`Machine::poll`] is called until it answers `None`, and again at
/// [`Machine::deadline`].
#[derive(Debug)]
pub(super) struct Machine {
    timing: Timing,
    /// Of an announcement.
    forms: usize,
    start: Instant,
    pace: Pace,
    /// With the number of probes left.
    probed: Agenda<u8>,
    advertised: Agenda<Advertised>,
    reports: VecDeque<Output>,
}

impl Machine {
    pub(super) fn new(timing: Timing, forms: usize, start: Instant) -> Self {
        let pace = Pace::new(timing.burst, timing.frame_interval);
        let (probed, advertised, reports) = (Agenda::new(), Agenda::new(), VecDeque::new());
        Self { timing, forms, start, pace, probed, advertised, reports }
    }

    /// Starts probing the address, unless it is being probed.
    pub(super) fn probe(&mut self, vip: Vip, now: Instant) {
        if self.probed.get_mut(vip).is_none() {
            self.probed.put(vip, Some(now), self.timing.probe_count.get());
        }
    }

    /// Stops probing the address, without a result.
    pub(super) fn abandon(&mut self, vip: Vip) {
        self.probed.remove(vip);
    }

    /// Starts announcing the VIP, from the beginning if it is being announced.
    pub(super) fn advertise(&mut self, vip: Vip, now: Instant) {
        let before = self.advertised.remove(vip).unwrap_or_default();
        self.advertised.put(vip, Some(now), Advertised { left: self.timing.announce_count.get(), form: 0, ..before });
    }

    /// Stops announcing and defending the VIP.
    pub(super) fn withdraw(&mut self, vip: Vip) {
        self.advertised.remove(vip);
    }

    /// Takes in what was heard while the adapter's hardware address was `own`.
    pub(super) fn hear(&mut self, heard: Heard, own: Mac, now: Instant) {
        let Heard { vip, sender: holder, is_probe } = heard;
        if holder == own {
            return;
        }
        if self.probed.remove(vip).is_some() {
            self.reports.push_back(Output::InUse(vip, holder));
        }
        if !is_probe {
            self.claimed(vip, holder, now);
        }
    }

    fn claimed(&mut self, vip: Vip, holder: Mac, now: Instant) {
        let Some(state) = self.advertised.get_mut(vip) else {
            return;
        };
        let claims = state.claims.saturating_add(1);
        state.claims = claims;
        if state.defended.is_some_and(|at| now.saturating_duration_since(at) < self.timing.defend_interval) {
            return;
        }
        let left = state.left.saturating_add(1);
        self.advertised.put(vip, Some(now), Advertised { left, form: 0, defended: Some(now), claims: 0 });
        self.reports.push_back(Output::Conflict { vip, holder, claims });
    }

    /// The next thing to do now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Output> {
        self.reports.pop_front().or_else(|| self.next_probe(now)).or_else(|| self.next_announcement(now))
    }

    fn next_probe(&mut self, now: Instant) -> Option<Output> {
        if self.pace.opens() > Some(now) {
            return None;
        }
        let (vip, left) = self.probed.take_due(now)?;
        let Some(left) = left.checked_sub(1) else {
            return Some(Output::Free(vip));
        };
        self.pace.take(now);
        self.probed.put(vip, now.checked_add(self.timing.probe_interval), left);
        Some(Output::Probe(vip))
    }

    fn next_announcement(&mut self, now: Instant) -> Option<Output> {
        if self.pace.opens() > Some(now) {
            return None;
        }
        let (vip, state) = self.advertised.take_due(now)?;
        self.pace.take(now);
        let next = state.form + 1;
        if next < self.forms {
            // After those that have been due for longer.
            self.advertised.put(vip, Some(now), Advertised { form: next, ..state });
            return Some(Output::Announce(vip, state.form));
        }
        let pause = match state.left {
            2.. => Some(self.timing.announce_interval),
            0 | 1 => self.until_refresh(vip, now),
        };
        let due = pause.and_then(|pause| now.checked_add(pause));
        let left = state.left.saturating_sub(1);
        self.advertised.put(vip, due, Advertised { left, form: 0, ..state });
        Some(Output::Announce(vip, state.form))
    }

    /// How long until the VIP's place in the refresh interval comes round; `None` without refresh. Places depend on the address alone,
    /// so that VIPs advertised together, or held up together, are not refreshed together.
    fn until_refresh(&self, vip: Vip, now: Instant) -> Option<Duration> {
        // Multiples of the golden ratio spread any run of addresses evenly (Knuth, The Art of Computer Programming, section 6.4).
        const GOLDEN: u32 = 0x9e37_79b9;
        let interval = self.timing.refresh_interval.as_nanos();
        let low_bits = match vip.address() {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => address.to_bits() as u32,
        };
        let place = (interval * u128::from(low_bits.wrapping_mul(GOLDEN))) >> 32;
        let past = (now.saturating_duration_since(self.start).as_nanos() + interval - place).checked_rem(interval)?;
        u64::try_from(interval - past).ok().map(Duration::from_nanos)
    }

    /// When [`Machine::poll`] has something to do next; `None`: not before something else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.probed.next_due().into_iter().chain(self.advertised.next_due()).min()?;
        Some(due).max(self.pace.opens())
    }

    /// What has to be heard for all this.
    pub(super) fn watch(&self) -> Option<(Vip, Vip)> {
        let ends = self.probed.ends().into_iter().chain(self.advertised.ends());
        ends.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))
    }
}

#[cfg(test)]
mod tests;
