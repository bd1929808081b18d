// SPDX-License-Identifier: Apache-2.0
//! On which terms something is asked for.

use crate::{idempotency::Keyed, tag::Expected};

/// What is asked beside a wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// To be told what would be done, and to have nothing done.
    pub rehearse: bool,
    /// To have nothing done unless what is to be changed is as expected by then.
    pub expected: Expected,
    /// To have it done once, however often it is asked for under that key. Nothing is kept of what is refused, or rehearsed.
    pub key: Option<Keyed>,
}
