// SPDX-License-Identifier: Apache-2.0
//! The words, the decisions and the ports of slb: pure, without I/O.
//!
//! ```text
//!  api ──▶ command::Mailbox ──▶ controller ──▶ state ──▶ plan ──▶ steps ──▶ ports (drivers)
//!   ▲                               │                     ▲
//!   └────────── board ◀─────────────┘                  observed
//! ```
//! Reading order: [`model`] has the words; [`command`] what may be asked; [`state`] the desired state, and [`declared`] what the configuration file makes of it; [`observed`] what the
//! kernel reports; [`plan`](mod@plan) leads from one to the other in [`step`]s, of which `feasible` takes those that can be taken; [`ports`] is what drivers implement;
//! [`controller`] ties them together; [`board`] is what readers see, with [`status`], [`statistics`] and [`events`]; [`peer`], [`prefix`] and [`routing`] are the words about routers;
//! [`idempotency`] knows requests that are asked again; [`health`] decides what answers to checks mean, [`drain`](mod@drain) what a drain waits for, and [`checker`] is the port of what asks; [`cleanup`] takes everything away; [`proxy_header`] is what backends are told of
//! their clients; [`errors`] prints an error with its causes.
//!
//! Deliberately absent: I/O, threads, an async runtime, clocks and randomness. Time and ids are arguments.

pub mod board;
pub mod checker;
pub mod cleanup;
pub mod command;
pub mod controller;
pub mod declared;
pub mod drain;
pub mod errors;
pub mod events;
mod feasible;
pub mod health;
pub mod idempotency;
pub mod model;
pub mod observed;
pub mod peer;
pub mod plan;
pub mod ports;
pub mod prefix;
mod programmed;
pub mod proxy_header;
pub mod rehearsal;
pub mod routing;
#[cfg(test)]
mod sim;
pub mod state;
pub mod statistics;
pub mod status;
pub mod step;
pub mod tag;
pub mod uplink;
