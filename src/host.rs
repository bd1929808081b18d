// SPDX-License-Identifier: Apache-2.0
//! The host as the data plane needs it: forwarding for IPVS, or what takes connections.

use slb_core::{
    observed::HostView,
    ports::{Cause, Host, SettingChange, Settings, Verdict},
    step::HostStep,
};
use slb_host::{Linux, Relaying};

/// The driver that goes with the data plane.
#[derive(Debug)]
pub enum Node {
    /// Around IPVS.
    Forwarding(Linux),
    /// Around this process.
    Relaying(Relaying),
}

impl Host for Node {
    fn expect_answers_from_vips(&mut self) {
        match self {
            Self::Forwarding(linux) => linux.expect_answers_from_vips(),
            Self::Relaying(relaying) => relaying.expect_answers_from_vips(),
        }
    }

    fn binds(&self) -> bool {
        match self {
            Self::Forwarding(linux) => linux.binds(),
            Self::Relaying(relaying) => relaying.binds(),
        }
    }

    async fn observe(&mut self) -> Result<HostView, Cause> {
        match self {
            Self::Forwarding(linux) => linux.observe().await,
            Self::Relaying(relaying) => relaying.observe().await,
        }
    }

    async fn apply(&mut self, steps: &[HostStep]) -> Vec<Verdict> {
        match self {
            Self::Forwarding(linux) => linux.apply(steps).await,
            Self::Relaying(relaying) => relaying.apply(steps).await,
        }
    }
}

impl Settings for Node {
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        match self {
            Self::Forwarding(linux) => linux.drifted_settings().await,
            Self::Relaying(relaying) => relaying.drifted_settings().await,
        }
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), Cause> {
        match self {
            Self::Forwarding(linux) => linux.set(name, value).await,
            Self::Relaying(relaying) => relaying.set(name, value).await,
        }
    }

    async fn get(&mut self, name: &str) -> Result<String, Cause> {
        match self {
            Self::Forwarding(linux) => linux.get(name).await,
            Self::Relaying(relaying) => relaying.get(name).await,
        }
    }
}
