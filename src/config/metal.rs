// SPDX-License-Identifier: Apache-2.0
//! Equinix Metal: who pays for VIPs, where they are, and who asks for them.

use std::env;

use slb_ipam::equinix::{ApiUrl, Place, Token};
use uuid::Uuid;

use super::{BadOption, Peering};
use crate::args::Given;

/// Where the published API was.
const DEFAULT_API: &str = "https://api.equinix.com/metal/v1";
/// The variables that may hold the token, in the order in which they count: the provider's name, and the one it had before. A token on a
/// command line would be seen by every user of the host.
const TOKENS: [&str; 2] = ["METAL_AUTH_TOKEN", "PACKET_AUTH_TOKEN"];

/// What is asked of Equinix Metal, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metal {
    /// Where its API is.
    pub api: ApiUrl,
    /// Who asks.
    pub token: Token,
    /// Who pays.
    pub project: Uuid,
    /// Where VIPs are.
    pub place: Place,
    /// This machine; `None` is the one with its hostname.
    pub device: Option<Uuid>,
    /// Who is told beside Equinix Metal's routers, and how.
    pub peering: Peering,
}

/// The token, from the environment.
pub(super) fn token() -> Option<String> {
    TOKENS.iter().find_map(|name| env::var(name).ok().filter(|token| !token.is_empty()))
}

impl Metal {
    /// `None` if VIPs are not of Equinix Metal.
    pub(super) fn from_given(given: &Given, token: Option<String>) -> Result<Option<Self>, BadOption> {
        let text = |option: &Option<String>| option.clone().filter(|text| !text.is_empty());
        let (project, device) = (text(&given.project), text(&given.metal_device));
        let (facility, metro) = (text(&given.facility), text(&given.metro));
        if !given.equinix_metal.unwrap_or_default() {
            let is_none = [&project, &device, &facility, &metro].iter().all(|option| option.is_none());
            let idle = || bad("--project, --facility, --metro and --metalDevice go with --equinixMetal");
            return if is_none { Ok(None) } else { Err(idle()) };
        }
        if given.arp.unwrap_or_default() || !given.bgp.unwrap_or_default() {
            return Err(bad("--equinixMetal goes with --bgp: that is how its routers learn of VIPs"));
        }
        if text(&given.ipam_range).is_some() {
            return Err(bad("--equinixMetal and --ipamRange exclude each other: say where VIPs come from"));
        }
        if given.bgp_as.is_some() || given.bgp_router_id.is_some() {
            return Err(bad("--bgpAs and --bgpRouterId are what Equinix Metal says they are: leave them out"));
        }
        if given.gobgp.is_some() {
            return Err(bad("--equinixMetal and --gobgp exclude each other: slb speaks BGP with Equinix Metal itself"));
        }
        let project = project.ok_or_else(|| bad("--project is missing: the id of the Equinix Metal project"))?;
        let place = match (facility, metro) {
            (Some(facility), None) => Place::Facility(facility),
            (None, Some(metro)) => Place::Metro(metro),
            (None, None) => return Err(bad("--facility or --metro is missing: where VIPs are wanted, like am6 or am")),
            (Some(_), Some(_)) => return Err(bad("--facility and --metro exclude each other: choose one")),
        };
        let api = text(&given.metal_api_url).unwrap_or_else(|| DEFAULT_API.to_owned());
        let missing = || bad("no token: put it into the variable METAL_AUTH_TOKEN or PACKET_AUTH_TOKEN");
        Ok(Some(Self {
            project: id("project", &project)?,
            place,
            device: device.map(|device| id("metalDevice", &device)).transpose()?,
            // Not the text: there may be a password in it.
            api: api.parse().map_err(|error| BadOption(format!("--metalApiUrl: {error}")))?,
            peering: Peering::from_given(given)?,
            token: token.ok_or_else(missing)?.parse().map_err(|error| BadOption(format!("the token: {error}")))?,
        }))
    }
}

fn id(option: &str, text: &str) -> Result<Uuid, BadOption> {
    text.parse().map_err(|_| {
        BadOption(format!("--{option} {text}: that is no id; one looks like 0b2b6c5e-0d5b-4c3e-9a53-6a2f0a5c1d7e"))
    })
}

fn bad(words: &str) -> BadOption {
    BadOption(words.to_owned())
}
