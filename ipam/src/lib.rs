// SPDX-License-Identifier: Apache-2.0
//! Pools of addresses: where a load-balancer's VIP comes from. One so far: [`Ranges`], of the operator's own network.
//! [`range`] reads what the operator wrote, [`Ranges`] hands out.

pub mod range;
mod ranges;

pub use self::ranges::Ranges;
