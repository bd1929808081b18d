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

#[cfg(test)]
mod tests {
    use slb_core::model::{Endpoint, ProxyProtocol, ServiceSettings};

    use super::*;

    #[test]
    fn nothing_is_added_to_what_is_passed_on() {
        let at = Endpoint::tcp("192.168.0.85".parse().unwrap(), 80.try_into().unwrap()).into();
        let plain = ServiceSettings::default();
        let proxied = ServiceSettings { proxy_protocol: Some(ProxyProtocol::V2), ..plain };
        for step in [DataplaneStep::AddService, DataplaneStep::SetService] {
            assert_eq!(of(&step(at, plain)), None);
            let why = of(&step(at, proxied)).unwrap().to_string();
            assert!(why.contains("(v2)") && why.contains("--dataplane user"), "{why}");
        }
    }
}
