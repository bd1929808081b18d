// SPDX-License-Identifier: Apache-2.0
//! What is written of what the provider says of this machine.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use slb_core::uplink::Uplink;
use uuid::Uuid;

use super::{Unreadable, peer, version, whole};

/// The version that is written, and the latest that is understood.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct UplinkV1 {
    device: [u8; 16],
    asn: NonZeroU32,
    address: [u8; 4],
    /// Addresses, and records of their own.
    peers: Vec<(String, Vec<u8>)>,
}

/// The record of what the provider says of this machine.
///
/// # Errors
/// As with [`encode`](super::encode).
pub fn encode(uplink: &Uplink) -> Result<Vec<u8>, postcard::Error> {
    let peers = uplink.peers.iter().map(|each| Ok((each.address.to_string(), peer::encode(each)?)));
    let record = UplinkV1 {
        device: uplink.device.into_bytes(),
        asn: uplink.asn,
        address: uplink.address.octets(),
        peers: peers.collect::<Result<_, postcard::Error>>()?,
    };
    postcard::to_extend(&record, vec![VERSION])
}

/// What the provider said of this machine.
///
/// # Errors
/// As with [`decode`](super::decode).
pub fn decode(bytes: &[u8]) -> Result<Uplink, Unreadable> {
    let UplinkV1 { device, asn, address, peers } = match version(bytes)? {
        (VERSION, fields) => whole(fields)?,
        (found, _) => return Err(Unreadable::Later { found, known: VERSION }),
    };
    let peers = peers.iter().map(|(address, record)| peer::decode(address, record)).collect::<Result<_, _>>()?;
    Ok(Uplink { device: Uuid::from_bytes(device), asn, address: address.into(), peers })
}
