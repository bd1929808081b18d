// SPDX-License-Identifier: Apache-2.0
//! What is written: JSON with a version, so that a record can be read by people and by later versions of slb. A record of a
//! version that is not known is an error, never a guess.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slb_core::model::{
    Backend, BackendId, BackendIp, BackendSettings, Endpoint, Forwarding, LoadBalancer, LoadBalancerId, Name, Phase,
    Port, Target, Vip, Weight,
};

/// A load-balancer's record, under its id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "v", deny_unknown_fields)]
enum Record {
    #[serde(rename = "1")]
    V1 { serial: u64, name: Name, vip: Vip, port: Port, backends: Option<Vec<BackendRecord>>, phase: Phase },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendRecord {
    id: BackendId,
    ip: BackendIp,
    port: Port,
    #[serde(rename = "type")]
    forwarding: Forwarding,
    weight: Weight,
}

/// The record of a load-balancer.
///
/// # Errors
/// None that can be met: the types have no maps with keys that are no strings.
pub fn encode(load_balancer: &LoadBalancer) -> serde_json::Result<Vec<u8>> {
    let LoadBalancer { serial, name, endpoint, phase, .. } = load_balancer;
    let backends = load_balancer.backends.as_ref().map(|backends| backends.iter().map(write_down).collect());
    serde_json::to_vec(&Record::V1 {
        serial: *serial,
        name: name.clone(),
        vip: endpoint.vip,
        port: endpoint.port,
        backends,
        phase: *phase,
    })
}

/// The load-balancer of a record.
///
/// # Errors
/// It is no record, or of a version that is not known.
pub fn decode(id: LoadBalancerId, bytes: &[u8]) -> serde_json::Result<LoadBalancer> {
    let Record::V1 { serial, name, vip, port, backends, phase } = serde_json::from_slice(bytes)?;
    let backends = backends.map(|backends| Arc::from_iter(backends.into_iter().map(read)));
    Ok(LoadBalancer { id, serial, name, endpoint: Endpoint { vip, port }, backends, phase })
}

fn write_down(backend: &Backend) -> BackendRecord {
    let Backend { id, target: Target { ip, port }, settings: BackendSettings { forwarding, weight } } = *backend;
    BackendRecord { id, ip, port, forwarding, weight }
}

fn read(record: BackendRecord) -> Backend {
    let BackendRecord { id, ip, port, forwarding, weight } = record;
    Backend { id, target: Target { ip, port }, settings: BackendSettings { forwarding, weight } }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ID: LoadBalancerId = LoadBalancerId(Uuid::from_u128(1));

    /// Records on disks out there look like this: a change that breaks it needs a new version.
    const WRITTEN: &str = r#"{"v":"1","serial":7,"name":"test loadbalancer","vip":"192.168.0.85","port":6443,"backends":[{"id":"779344ce-72ca-4aec-a1c0-d9c5c4d72419","ip":"10.80.96.25","port":6443,"type":"MASQ","weight":1}],"phase":"active"}"#;

    #[test]
    fn the_records_out_there_are_read_and_written_as_ever() {
        let load_balancer = decode(ID, WRITTEN.as_bytes()).unwrap();
        assert_eq!(load_balancer.endpoint.to_string(), "192.168.0.85:6443");
        assert_eq!(load_balancer.backends().len(), 1);
        assert_eq!(String::from_utf8(encode(&load_balancer).unwrap()).unwrap(), WRITTEN);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (from, to) in [
            (r#""v":"1""#, r#""v":"2""#),
            (r#""port":6443,"backends""#, r#""port":0,"backends""#),
            ("192.168.0.85", "224.0.0.1"),
            (r#""weight":1"#, r#""weight":1,"colour":"red""#),
            ("active", "asleep"),
            ("}]", "}"),
        ] {
            let text = WRITTEN.replacen(from, to, 1);
            assert_ne!(text, WRITTEN);
            assert!(decode(ID, text.as_bytes()).is_err(), "{text}");
        }
    }
}
