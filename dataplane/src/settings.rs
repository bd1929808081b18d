// SPDX-License-Identifier: Apache-2.0
//! The time-outs of connections as settings. There is one of each in a network namespace, for all services, also those of others.

use ipvs::{Client, Error, Request, Timeouts};
use slb_core::ports::{Cause, SettingChange, Settings};

use crate::ipvs::{Ipvs, is_stale};

/// A time-out, with the kernel's name for it (`IPVS_CMD_ATTR_TIMEOUT_*`, linux/ip_vs.h).
#[derive(Clone, Copy)]
enum Timeout {
    Tcp,
    TcpFin,
    Udp,
}

impl Timeout {
    const ALL: [Self; 3] = [Self::Tcp, Self::TcpFin, Self::Udp];

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "ipvs.timeout_tcp",
            Self::TcpFin => "ipvs.timeout_tcp_fin",
            Self::Udp => "ipvs.timeout_udp",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|timeout| timeout.name() == name)
    }

    fn of(self, timeouts: Timeouts) -> u32 {
        match self {
            Self::Tcp => timeouts.tcp,
            Self::TcpFin => timeouts.tcp_fin,
            Self::Udp => timeouts.udp,
        }
    }

    /// The others stay.
    fn alone(self, seconds: u32) -> Timeouts {
        match self {
            Self::Tcp => Timeouts { tcp: seconds, ..Timeouts::default() },
            Self::TcpFin => Timeouts { tcp_fin: seconds, ..Timeouts::default() },
            Self::Udp => Timeouts { udp: seconds, ..Timeouts::default() },
        }
    }
}

impl Settings for Ipvs {
    /// Nothing is asked of the kernel where nothing is asked for.
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        let wanted = self.timeouts;
        if wanted == Timeouts::default() {
            return Ok(Vec::new());
        }
        let found = self.found().await?;
        let drift = |timeout: Timeout| {
            let [from, to] = [found, wanted].map(|timeouts| timeout.of(timeouts));
            let name = timeout.name().to_owned();
            (to != 0 && from != to).then(|| SettingChange { name, from: from.to_string(), to: to.to_string() })
        };
        Ok(Timeout::ALL.into_iter().filter_map(drift).collect())
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), Cause> {
        let Some(timeout) = Timeout::named(name) else { return Ok(()) };
        Ok(self.client.execute(Request::SetTimeouts(timeout.alone(value.parse()?))).await?)
    }

    async fn get(&mut self, name: &str) -> Result<String, Cause> {
        match Timeout::named(name) {
            Some(timeout) => Ok(timeout.of(self.found().await?).to_string()),
            None => Ok(String::new()),
        }
    }
}

impl Ipvs {
    async fn found(&mut self) -> Result<Timeouts, Error> {
        let found = self.client.timeouts().await;
        if !is_stale(&found) {
            return found;
        }
        self.client = Client::open().await?;
        self.client.timeouts().await
    }
}
