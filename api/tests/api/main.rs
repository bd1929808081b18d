// SPDX-License-Identifier: Apache-2.0
//! The API as clients meet it. Every response that any test gets is held against `openapi.yaml`, see `client`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod any;
mod backends;
mod bgp;
mod bulk;
mod client;
mod conduct;
mod defects;
mod description;
mod drain;
mod events;
mod file;
mod keys;
mod loadbalancers;
mod memory;
mod problems;
mod rehearsals;
mod statistics;
mod tags;
