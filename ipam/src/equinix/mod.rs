// SPDX-License-Identifier: Apache-2.0
//! Addresses of Equinix Metal: elastic IPs, reserved one at a time and released when nobody needs them, and the BGP neighbours that
//! are told of them.
//!
//! ```text
//!  acquire ──▶ POST /projects/P/ips, tagged with the owner and this request ──▶ held
//!     └─ no answer? ──▶ the request's tag finds what came of it                     │
//!  release, start, doubt, time ──▶ sweep: lists the reservations of the owner, releases what is not held
//! ```
//! Reading order: `settings` (what the operator says) – `wire` (the API's words) – `error` – `client` (one call, and again) – `device`
//! (this machine and its neighbours) – `desk` (reserves and releases) – `pool`.
//!
//! What is ours is said by a tag of the reservation itself, `slb-OWNER`: so nothing has to be written down before it is asked for, and
//! whatever becomes of a request, the next sweep finds it. What has no such tag is never released. The owner
//! is the state that load-balancers are kept in, not the device: whoever starts slb with another state directory by mistake loses no
//! address that is in use.

mod client;
mod desk;
mod device;
mod error;
mod pool;
mod settings;
mod wire;

pub use self::{
    client::Client,
    device::{Which, locate},
    error::Error,
    pool::Equinix,
    settings::{ApiUrl, BadSetting, Place, Timing, Token},
};
