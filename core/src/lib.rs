// SPDX-License-Identifier: Apache-2.0
//! The words, the decisions and the ports of slb: pure, without I/O.

pub mod board;
pub mod command;
pub mod errors;
pub mod model;
pub mod observed;
pub mod ports;
pub mod step;
