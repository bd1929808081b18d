// SPDX-License-Identifier: Apache-2.0
//! How the network learns where a VIP lives.
//!
//! One folder per way of telling it, each an [`Advertiser`](slb_core::ports::Advertiser) with the same rooms: a codec, a pure machine
//! that is told the time, a socket, and a task that joins them. There are three:
//!
//! - [`segment`]: on an Ethernet segment, in the words of [`arp`] or [`ndp`]; probes addresses and notices conflicts as RFC 5227 says.
//! - [`bgp`]: to routers, as routes (RFC 4271).
//! - [`gobgp`]: the same through a GoBGP that runs already.
//!
//! Whoever runs the host's adapters tells this crate when they change: [`AdvertStep::Advertise`](slb_core::step::AdvertStep), taken
//! again, announces anew.

pub mod arp;
mod attribute;
pub mod bgp;
mod error;
pub mod gobgp;
pub mod ndp;
mod routes;
pub mod segment;

pub use self::{
    error::Error,
    segment::{Segment, Timing},
};
