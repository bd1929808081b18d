// SPDX-License-Identifier: Apache-2.0
//! Who asked for a load-balancer.

use serde::{Deserialize, Serialize};

/// Who asked for a load-balancer, and is the one to change it; `origin` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A client of the API.
    #[default]
    Api,
    /// The configuration file.
    File,
}
