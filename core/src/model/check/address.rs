// SPDX-License-Identifier: Apache-2.0
//! Which address a check goes to.

use std::str::FromStr;

use crate::model::Invalid;

/// Which address a check goes to, of the same backend; `address` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// The backend's own.
    #[default]
    Backend,
    /// The VIP, by the way that clients' packets take: one who does not have it fails.
    Vip,
}

impl Address {
    /// The word that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Vip => "vip",
        }
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Backend, Self::Vip].into_iter().find(|address| address.as_str() == text).ok_or_else(|| {
            Invalid(format!("{text:?} is no address to ask; there are \"backend\", its own, and \"vip\""))
        })
    }
}
