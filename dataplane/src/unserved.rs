// SPDX-License-Identifier: Apache-2.0
//! What only a data plane can do at which connections end. IPVS passes packets on, and adds nothing to them.

use slb_core::{ports::Unserved, step::DataplaneStep};

/// Why the step cannot be taken, if it cannot.
pub fn of(step: &DataplaneStep) -> Option<Unserved> {
    match *step {
        DataplaneStep::AddService(_, settings) | DataplaneStep::SetService(_, settings) => {
            let version = settings.proxy_protocol?;
            Some(Unserved(format!(
                "IPVS passes packets on, and cannot begin a connection with the PROXY protocol ({version}): that takes --dataplane user; \
                 or have backends see clients' own addresses (\"sourceNat\":\"never\")"
            )))
        }
        DataplaneStep::RemoveService(_)
        | DataplaneStep::AddBackend(..)
        | DataplaneStep::SetBackend(..)
        | DataplaneStep::RemoveBackend(..) => None,
    }
}
