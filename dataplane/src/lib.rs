// SPDX-License-Identifier: Apache-2.0
//! What forwards packets. One driver so far: [`Ipvs`], the kernel's own balancer. [`translate`] turns steps into its requests and
//! its answers into what the plan compares, purely; [`entries`] reads services of IPv4 the quick way, [`outline`] sees at a glance which services have
//! changed; [`unserved`] says what IPVS cannot do;
//! [`settings`] looks after the time-outs of connections. [`Meter`] reads what the kernel counts.

mod entries;
mod ipvs;
mod meter;
mod outline;
mod settings;
mod translate;
mod unserved;

pub use ::ipvs::{Error, Timeouts};

pub use self::{ipvs::Ipvs, meter::Meter};
