// SPDX-License-Identifier: Apache-2.0
//! The words of the Metal API, as far as they are needed. What else it says is passed over, and a list may hold things that are quite
//! different: only what has an id counts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The type of an address that the internet can reach.
pub(super) const PUBLIC_IPV4: &str = "public_ipv4";

/// `POST /projects/{id}/ips`.
#[derive(Debug, Serialize)]
pub(super) struct NewReservation<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) quantity: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) facility: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metro: Option<&'a str>,
    pub(super) tags: &'a [String],
    pub(super) details: &'a str,
    /// An address that people have to approve first is none.
    pub(super) fail_on_approval_required: bool,
}

/// A reservation: the answer to a POST, and each of `GET /projects/{id}/ips`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Reservation {
    pub(super) id: Uuid,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) cidr: Option<u8>,
    pub(super) state: Option<String>,
    pub(super) tags: Option<Vec<String>>,
}

impl Reservation {
    /// The address, if it is one for a VIP: public, of IPv4, on its own, and here already.
    pub(super) fn single(&self) -> Option<IpAddr> {
        let is_single = self.kind.as_deref() == Some(PUBLIC_IPV4) && self.cidr == Some(32);
        let is_here = self.state.as_deref().is_none_or(|state| state == "created");
        self.address.filter(|address| address.is_ipv4() && is_single && is_here)
    }

    /// Whether the address is one of it, in whatever state it is.
    pub(super) fn covers(&self, address: IpAddr) -> bool {
        let (Some(IpAddr::V4(own)), IpAddr::V4(address)) = (self.address, address) else { return false };
        let host_bits = 32_u32.saturating_sub(self.cidr.unwrap_or(32).into());
        let network = u32::MAX.checked_shl(host_bits).unwrap_or_default();
        (own.to_bits() ^ address.to_bits()) & network == 0
    }

    pub(super) fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.tags().iter().any(|other| other == tag)
    }
}

/// Each of `GET /projects/{id}/devices`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct DeviceEntry {
    pub(super) id: Uuid,
    pub(super) hostname: Option<String>,
}

/// `GET /devices/{id}/bgp/neighbors`.
#[derive(Debug, Deserialize)]
pub(super) struct NeighborList {
    pub(super) bgp_neighbors: Option<Vec<Neighbor>>,
}

/// Neighbours of one address family.
#[derive(Debug, Deserialize)]
pub(super) struct Neighbor {
    pub(super) address_family: u8,
    pub(super) customer_as: u32,
    pub(super) customer_ip: IpAddr,
    pub(super) peer_as: u32,
    pub(super) peer_ips: Option<Vec<IpAddr>>,
    pub(super) md5_enabled: Option<bool>,
    pub(super) md5_password: Option<String>,
}

/// A part of a list.
pub(super) trait Page {
    type Item;
    /// The number of the last page, and what is on this one.
    fn split(self) -> (u32, Vec<Self::Item>);
}

/// Where in a list a page is.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Meta {
    last_page: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReservationPage {
    ip_addresses: Vec<Reservation>,
    meta: Option<Meta>,
}

impl Page for ReservationPage {
    type Item = Reservation;

    fn split(self) -> (u32, Vec<Reservation>) {
        (last(self.meta), self.ip_addresses)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DevicePage {
    devices: Vec<DeviceEntry>,
    meta: Option<Meta>,
}

impl Page for DevicePage {
    type Item = DeviceEntry;

    fn split(self) -> (u32, Vec<DeviceEntry>) {
        (last(self.meta), self.devices)
    }
}

/// A list without pages is one.
fn last(meta: Option<Meta>) -> u32 {
    meta.and_then(|meta| meta.last_page).unwrap_or(1)
}

/// What is wrong, in words for people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Complaint {
    error: Option<String>,
    errors: Vec<String>,
}

impl Complaint {
    pub(super) fn words(self) -> String {
        self.errors.into_iter().chain(self.error).collect::<Vec<_>>().join("; ")
    }
}
