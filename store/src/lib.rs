// SPDX-License-Identifier: Apache-2.0
//! Desired state on disk, durable and transactional. One store so far: [`Redb`], a file of its own. [`record`] is what is
//! written, versioned and apart from the core's model, so that either can change.

mod error;
mod record;
mod redb;

pub use self::{error::Error, redb::Redb};
