// SPDX-License-Identifier: Apache-2.0
//! This machine as Equinix Metal knows it, and the routers that it is to tell of its addresses.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
};

use slb_core::{
    errors::Chain,
    peer::{Password, Peer, PeerAddress},
    uplink::Uplink,
};
use tokio::time::sleep;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    client::Client,
    error::Error,
    wire::{DevicePage, Neighbor, NeighborList},
};

/// The routers announce addresses of IPv4 over sessions of IPv4.
const IPV4: u8 = 4;

/// Which of a project's devices this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this id.
    Id(Uuid),
    /// The one of this name.
    Hostname(String),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Hostname(name) => name.fmt(f),
        }
    }
}

/// Finds the device and its neighbours. If the API is away, or refuses the token and so says nothing of them, they are as they were
/// `last`. If it never told them, or tells now that they are not to be had, says why, once, and asks again: what is wrong is put right
/// there, and a server that ended would ask more often.
pub async fn locate(client: &Client, project: Uuid, which: &Which, last: Option<&Uplink>) -> Uplink {
    let last = last.filter(|last| !matches!(which, Which::Id(id) if *id != last.device));
    let mut device = None;
    let mut said = String::new();
    let mut failures = 0;
    loop {
        let why = match look(client, project, which, &mut device).await {
            Ok(Found::Uplink(uplink)) => return uplink,
            Ok(Found::None { hostname }) => {
                format!("BGP is not enabled for {hostname}; enable it for the project and for the device")
            }
            Err(error) => match last {
                Some(last) if error.may_pass() => {
                    warn!(error = %Chain(&error), "Equinix Metal is away: going on with the routers that it named last");
                    return last.clone();
                }
                Some(last) if error.is_about_the_token() => {
                    warn!(error = %Chain(&error), "Equinix Metal refuses the token: going on with the routers that it named last");
                    return last.clone();
                }
                _ => Chain(&error).to_string(),
            },
        };
        if said != why {
            warn!("waiting for Equinix Metal: {why}; slb asks again by itself");
            said = why;
        }
        failures += 1;
        sleep(client.timing().pause(failures)).await;
    }
}

enum Found {
    Uplink(Uplink),
    /// BGP is not enabled, or not yet.
    None {
        hostname: String,
    },
}

/// A machine of a project.
#[derive(Clone)]
struct Device {
    id: Uuid,
    hostname: String,
}

async fn look(client: &Client, project: Uuid, which: &Which, known: &mut Option<Device>) -> Result<Found, Error> {
    let Device { id, hostname } = match known {
        Some(device) => device.clone(),
        None => {
            let device = find(client, project, which).await?;
            info!("Querying BGP settings for [{}]", device.hostname);
            known.insert(device).clone()
        }
    };
    let list: NeighborList = client.get(&format!("/devices/{id}/bgp/neighbors")).await?;
    let uplink = uplink(id, list.bgp_neighbors.unwrap_or_default())?;
    Ok(uplink.map_or(Found::None { hostname }, Found::Uplink))
}

async fn find(client: &Client, project: Uuid, which: &Which) -> Result<Device, Error> {
    let devices = client.list::<DevicePage>(&format!("/projects/{project}/devices")).await?;
    let mut found = devices.into_iter().filter(|device| match which {
        Which::Id(id) => device.id == *id,
        Which::Hostname(name) => device.hostname.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(name)),
    });
    match (found.next(), found.next()) {
        (Some(device), None) => {
            Ok(Device { id: device.id, hostname: device.hostname.unwrap_or_else(|| which.to_string()) })
        }
        (None, _) => Err(Error::NoDevice { project, which: which.to_string() }),
        (Some(_), Some(_)) => Err(Error::ManyDevices { project, which: which.to_string() }),
    }
}

/// `None` if there are none.
fn uplink(device: Uuid, groups: Vec<Neighbor>) -> Result<Option<Uplink>, Error> {
    let bad = |why: String| Error::Neighbours { why };
    let mut own: Option<(NonZeroU32, Ipv4Addr)> = None;
    let mut peers = BTreeMap::new();
    for group in groups.into_iter().filter(|group| group.address_family == IPV4) {
        let asn = number(group.customer_as, "the own")?;
        let host = PeerAddress::try_from(group.customer_ip).map_err(|error| bad(error.to_string()))?;
        let IpAddr::V4(address) = host.address() else {
            return Err(bad(format!("the own address is {host}, not of IPv4")));
        };
        let one = *own.get_or_insert((asn, address));
        if one != (asn, address) {
            return Err(bad(format!("the device is {} of AS {}, and {address} of AS {asn}", one.1, one.0)));
        }
        let is_signed = group.md5_enabled.unwrap_or(true);
        let password = group.md5_password.filter(|password| is_signed && !password.is_empty());
        let password = password.map(Password::try_from).transpose().map_err(|error| bad(error.to_string()))?;
        let asn = number(group.peer_as, "the peers'")?;
        for ip in group.peer_ips.unwrap_or_default() {
            let address = PeerAddress::try_from(ip).map_err(|error| bad(error.to_string()))?;
            peers.insert(address, Peer { password: password.clone(), ..Peer::new(address, asn) });
        }
    }
    let peers: Vec<Peer> = peers.into_values().collect();
    Ok(own.filter(|_| !peers.is_empty()).map(|(asn, address)| Uplink { device, asn, address, peers }))
}

fn number(asn: u32, whose: &str) -> Result<NonZeroU32, Error> {
    NonZeroU32::new(asn).ok_or_else(|| Error::Neighbours { why: format!("{whose}: 0 is no AS number") })
}
