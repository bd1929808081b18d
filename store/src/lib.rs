// SPDX-License-Identifier: Apache-2.0
//! Desired state on disk, durable and transactional. One store so far: [`Redb`], a file of its own.
//!
//! ```text
//!  Redb ──▶ Keeper ──▶ tables ──▶ record        Redb leaves the async thread, Keeper finds out what a failed write left,
//!              └─────▶ Folder                   tables is one transaction, record what is written of a load-balancer
//! ```
//! Two things have versions: the file as a whole, and each record. A later version of either is an error, never a guess, and so is
//! whatever makes no sense: nothing is skipped.

mod error;
mod folder;
mod keeper;
pub mod record;
mod redb;
mod tables;

pub use self::{error::Error, redb::Redb};
