// SPDX-License-Identifier: Apache-2.0
//! A data plane in user space, for hosts without IPVS or without root.
//!
//! `balance` decides who gets a connection, purely and as IPVS does.

#[expect(dead_code, reason = "what uses it follows")]
mod balance;
