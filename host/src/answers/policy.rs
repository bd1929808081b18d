// SPDX-License-Identifier: Apache-2.0
//! Where packets with the mark go: a rule for routes, and the route that it leads to.
//!
//! ```text
//!  1306: from all fwmark 0x51a00001 lookup 1369440257 proto 83
//!  local default dev lo table 1369440257 proto 83
//! ```

use netlink::{KernelError, Request};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use slb_core::model::Family;

use super::MARK;
use crate::{Error, routing::Routing};

/// The number of the table: the mark's, as tables that people choose have small numbers.
const TABLE: u32 = MARK;
/// After the rule for this host's own addresses (0), and before those that lead elsewhere: the main table's is 32766, and those of other
/// programs are close to it, or around 5200 (Tailscale).
const PRIORITY: u32 = 1306;
/// As of the addresses that slb binds. Kernels before 4.17 know none of rules.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(b'S');
/// `LOOPBACK_IFINDEX`, net/flow.h: of the loopback adapter in every network namespace.
const LOOPBACK: u32 = 1;
/// The whole mark counts.
const WHOLE: u32 = u32::MAX;

/// Puts up both; what is there stays.
pub(super) async fn put(family: Family, routing: &mut Routing) -> Result<(), Error> {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let requests = [
        Request::new(RouteNetlinkMessage::NewRule(rule(family)), flags),
        Request::new(RouteNetlinkMessage::NewRoute(route(family)), flags),
    ];
    change(family, requests, &[libc::EEXIST], routing).await
}

/// Takes both away; what is not there is gone.
pub(super) async fn take(family: Family, routing: &mut Routing) -> Result<(), Error> {
    let requests = [RouteNetlinkMessage::DelRoute(route(family)), RouteNetlinkMessage::DelRule(rule(family))];
    change(family, requests.map(Request::from), &[libc::ESRCH, libc::ENOENT], routing).await
}

async fn change(
    family: Family,
    requests: [Request<RouteNetlinkMessage>; 2],
    is_so: &[i32],
    routing: &mut Routing,
) -> Result<(), Error> {
    let answers = routing.change("the rule and the route of answers", requests.into_iter()).await?;
    let refused = |error: &KernelError| !is_so.contains(&error.errno());
    let refusal = answers.into_iter().filter_map(Result::err).find(refused);
    refusal.map_or(Ok(()), |source| Err(Error::Answers { family, source }))
}

/// The family whose rule it is, if it is slb's to the letter.
pub(super) fn family_of_rule(rule: &RuleMessage) -> Option<Family> {
    let family = family(rule.header.family)?;
    let RuleMessage { header, attributes, .. } = rule;
    let has = |wanted: &RuleAttribute| attributes.contains(wanted);
    let narrows = |attribute: &RuleAttribute| !is_part(attribute) && !is_said_of_any(attribute);
    let is_plain = header.action == RuleAction::ToTable && header.flags.is_empty() && header.tos == 0;
    (is_plain && parts().iter().all(has) && !attributes.iter().any(narrows)).then_some(family)
}

/// The family whose route it is, if it is slb's.
pub(super) fn family_of_route(route: &RouteMessage) -> Option<Family> {
    let RouteMessage { header, attributes, .. } = route;
    let has = |wanted: RouteAttribute| attributes.contains(&wanted);
    let is_ours = header.kind == RouteType::Local
        && header.destination_prefix_length == 0
        && header.protocol == PROTOCOL
        && has(RouteAttribute::Table(TABLE))
        && has(RouteAttribute::Oif(LOOPBACK));
    family(header.address_family).filter(|_| is_ours)
}

fn rule(family: Family) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = number(family);
    rule.header.action = RuleAction::ToTable;
    rule.attributes = parts().to_vec();
    rule.attributes.push(RuleAttribute::Protocol(PROTOCOL));
    rule
}

fn parts() -> [RuleAttribute; 4] {
    [
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::FwMark(MARK),
        RuleAttribute::FwMask(WHOLE),
        RuleAttribute::Table(TABLE),
    ]
}

fn is_part(attribute: &RuleAttribute) -> bool {
    parts().contains(attribute)
}

/// What the kernel says of rules that nothing of the kind was said of (`fib_nl_fill_rule`).
fn is_said_of_any(attribute: &RuleAttribute) -> bool {
    let none = u32::MAX;
    let said = [RuleAttribute::SuppressPrefixLen(none), RuleAttribute::SuppressIfGroup(none)];
    matches!(attribute, RuleAttribute::Protocol(_)) || said.contains(attribute)
}

fn route(family: Family) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = number(family);
    route.header.protocol = PROTOCOL;
    route.header.scope = RouteScope::Host;
    route.header.kind = RouteType::Local;
    route.attributes = vec![RouteAttribute::Table(TABLE), RouteAttribute::Oif(LOOPBACK)];
    route
}

fn number(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

fn family(number: AddressFamily) -> Option<Family> {
    [Family::Ipv4, Family::Ipv6].into_iter().find(|family| self::number(*family) == number)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    /// As the kernel sends it back.
    fn listed(family: Family) -> RuleMessage {
        let mut rule = rule(family);
        rule.attributes.push(RuleAttribute::SuppressPrefixLen(u32::MAX));
        rule
    }

    #[test]
    fn slbs_own_are_known_again() {
        for family in [Family::Ipv4, Family::Ipv6] {
            assert_eq!(family_of_rule(&listed(family)), Some(family));
            assert_eq!(family_of_route(&route(family)), Some(family));
        }
    }

    /// Doubt means foreign.
    #[test]
    fn what_is_not_to_the_letter_is_somebody_elses() {
        let other = |change: &dyn Fn(&mut RuleMessage)| {
            let mut rule = listed(Family::Ipv4);
            change(&mut rule);
            assert_eq!(family_of_rule(&rule), None, "{rule:?}");
        };
        other(&|rule| rule.header.action = RuleAction::Blackhole);
        other(&|rule| rule.attributes.push(RuleAttribute::Iifname("eth1".to_owned())));
        other(&|rule| rule.attributes.push(RuleAttribute::Source(IpAddr::from(Ipv4Addr::LOCALHOST))));
        for part in 0..parts().len() {
            other(&|rule| drop(rule.attributes.remove(part)));
        }
        let mut route = route(Family::Ipv4);
        route.header.protocol = RouteProtocol::Static;
        assert_eq!(family_of_route(&route), None);
    }

    /// No mark that another part of slb, or another program, looks for.
    #[test]
    fn the_mark_is_nobody_elses() {
        use slb_core::model::Mark;
        assert_ne!(MARK & Mark::COMMON_BITS, Mark::COMMON);
        for (bits, value) in [
            (0x2000, 0x2000),
            (0x4000, 0x4000),
            (0x8000, 0x8000),
            (0xf_0000, 0x1_0000),
            (0xff_0000, 0x4_0000),
            (0xff_0000, 0x8_0000),
            (0xf00, 0x200),
            (0x8000_0000, 0x8000_0000),
        ] {
            assert_ne!(MARK & bits, value, "{bits:#x}");
        }
    }
}
