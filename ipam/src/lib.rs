// SPDX-License-Identifier: Apache-2.0
//! Pools of addresses: where a load-balancer's VIP comes from. [`Ranges`] are of the operator's own network; [`equinix`] reserves
//! addresses with a provider.
//! [`range`] reads what the operator wrote, [`Ranges`] hands out.

pub mod equinix;
pub mod range;
mod ranges;

pub use self::ranges::Ranges;
