// SPDX-License-Identifier: Apache-2.0
//! Whether packets of clients may come in: with the strict `rp_filter` the kernel drops what comes by another adapter than its answers would
//! leave by, and says so only where `log_martians` is on.

use std::collections::BTreeSet;

use netlink_packet_route::{
    AddressFamily,
    route::{RouteAttribute, RouteHeader, RouteMessage},
};

use crate::{Error, link::Adapter, sysctl};

/// `rp_filter` that drops, RFC 3704's strict mode.
const STRICT: i64 = 1;

/// The other adapters by which this host reaches most clients, if packets from there would be dropped that come by `adapter`.
pub(crate) fn detour(adapter: &Adapter, all: &[Adapter], routes: &[RouteMessage]) -> Result<Vec<String>, Error> {
    let ways = ways(routes);
    if !adapter.has_arp || ways.is_empty() || ways.contains(&adapter.index) || !is_strict(&adapter.name)? {
        return Ok(Vec::new());
    }
    Ok(all.iter().filter(|other| ways.contains(&other.index)).map(|other| other.name.clone()).collect())
}

/// The adapters that the default route leads out by. Of several routes the kernel asks the one of the lowest metric alone, as for answers
/// (`fib_validate_source`): a host with two uplinks has both in its table and uses one.
fn ways(routes: &[RouteMessage]) -> BTreeSet<u32> {
    let defaults = || routes.iter().filter(|route| is_default(route));
    let best = defaults().map(metric).min();
    defaults().filter(|route| Some(metric(route)) == best).flat_map(out).collect()
}

fn metric(route: &RouteMessage) -> u32 {
    let metric = |attribute: &RouteAttribute| {
        if let RouteAttribute::Priority(metric) = attribute { Some(*metric) } else { None }
    };
    route.attributes.iter().find_map(metric).unwrap_or_default()
}

/// The kernel goes by the larger of the adapter's own value and the one for all (`IN_DEV_MAXCONF`, linux/inetdevice.h).
fn is_strict(adapter: &str) -> Result<bool, Error> {
    let value = |name: &str| {
        let name = format!("net.ipv4.conf.{}.rp_filter", name.replace('.', "/"));
        Ok::<_, Error>(sysctl::read(&name)?.and_then(|text| text.parse::<i64>().ok()))
    };
    Ok(value(adapter)?.max(value("all")?) == Some(STRICT))
}

/// Whether it leads out to everywhere that no other route leads to.
pub(crate) fn is_default(route: &RouteMessage) -> bool {
    route.header.address_family == AddressFamily::Inet
        && route.header.destination_prefix_length == 0
        && route.header.table == RouteHeader::RT_TABLE_MAIN
}

/// The adapters that it leads out by.
fn out(route: &RouteMessage) -> Vec<u32> {
    let mut found = Vec::new();
    for attribute in &route.attributes {
        if let RouteAttribute::Oif(index) = attribute {
            found.push(*index);
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            found.extend(hops.iter().map(|hop| hop.interface_index));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_route(adapter: u32, metric: Option<u32>) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.attributes = metric.map(RouteAttribute::Priority).into_iter().collect();
        route.attributes.push(RouteAttribute::Oif(adapter));
        route
    }

    #[test]
    fn answers_leave_by_the_default_route_of_the_lowest_metric() {
        let found = |routes: &[(u32, Option<u32>)]| {
            let routes: Vec<_> = routes.iter().map(|(adapter, metric)| default_route(*adapter, *metric)).collect();
            ways(&routes).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[(2, Some(101)), (3, Some(100))]), [3]);
        assert_eq!(found(&[(2, Some(100)), (3, None)]), [3]);
        assert_eq!(found(&[(2, Some(100)), (3, Some(100))]), [2, 3]);
        let mut of_a_network = default_route(2, None);
        of_a_network.header.destination_prefix_length = 8;
        assert_eq!(ways(&[of_a_network, default_route(3, Some(100))]), [3].into());
    }
}
