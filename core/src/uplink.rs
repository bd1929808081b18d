// SPDX-License-Identifier: Apache-2.0
//! What a provider of addresses says of this machine.

use std::{net::Ipv4Addr, num::NonZeroU32};

use uuid::Uuid;

use crate::peer::Peer;

/// Who this machine is to its provider, and which routers it is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The machine's name with the provider.
    pub device: Uuid,
    /// The own AS number.
    pub asn: NonZeroU32,
    /// The own address: the routers take sessions from no other.
    pub address: Ipv4Addr,
    /// The routers, by address.
    pub peers: Vec<Peer>,
}
