// SPDX-License-Identifier: Apache-2.0
//! Readers of single values. An error is in words for who typed the value.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use slb_core::{
    model::{
        Advertise, BackendIp, Families, ForwardingKind, Invalid, Name, PersistenceTimeout, Phase, Port, PortRange,
        Ports, Protocol, ProxyProtocol, Scheduler, SchedulerFlags, SourceNat, Vip, Weight,
    },
    peer::{Communities, Community, HoldTime, NextHop, Password, PeerAddress, Prepend, RestartTime},
    routing::Words,
};
use uuid::{Uuid, fmt::Hyphenated};

use crate::json::Node;

/// Up to here every whole number has a float of its own (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(crate) fn name(node: &Node) -> Result<Name, String> {
    Name::try_from(text(node)?.to_owned()).map_err(|invalid| invalid.to_string())
}

pub(crate) fn port(node: &Node) -> Result<Port, String> {
    Port::try_from(integer(node)?).map_err(|invalid| invalid.to_string())
}

/// Ports and ranges of them, as texts or numbers.
pub(crate) fn ports(node: &Node) -> Result<Ports, String> {
    let Node::List(items) = node else { return Err(format!("must be an array in [], not {}", node.kind())) };
    let range = |node: &Node| match node {
        Node::Text(text) => text.parse::<PortRange>().map_err(|invalid| invalid.to_string()),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Object(_) => {
            port(node).map(PortRange::from)
        }
    };
    let ranges = items.iter().map(range).collect::<Result<Vec<_>, _>>()?;
    Ports::new(ranges).map_err(|invalid| invalid.to_string())
}

pub(crate) fn weight(node: &Node) -> Result<Weight, String> {
    Weight::try_from(integer(node)?).map_err(|invalid| invalid.to_string())
}

pub(crate) fn vip(node: &Node) -> Result<Vip, String> {
    text(node)?.parse::<Vip>().map_err(|invalid| invalid.to_string())
}

pub(crate) fn ip(node: &Node) -> Result<BackendIp, String> {
    text(node)?.parse::<BackendIp>().map_err(|invalid| invalid.to_string())
}

/// A list of at least one.
pub(crate) fn vips(node: &Node) -> Result<Vec<Vip>, String> {
    let Node::List(items) = node else { return Err(format!("must be an array in [], not {}", node.kind())) };
    if items.is_empty() {
        return Err("must have an address, or one of each family".to_owned());
    }
    items.iter().map(vip).collect()
}

pub(crate) fn families(node: &Node) -> Result<Families, String> {
    text(node)?.parse::<Families>().map_err(|invalid| invalid.to_string())
}

pub(crate) fn peer_address(node: &Node) -> Result<PeerAddress, String> {
    let text = text(node)?;
    parse_peer_address(text).unwrap_or_else(|| Err(format!("{text:?} is not an IP address")))
}

/// `None` for what is no IP address at all.
pub(crate) fn parse_peer_address(text: &str) -> Option<Result<PeerAddress, String>> {
    let address: IpAddr = text.parse().ok()?;
    Some(PeerAddress::try_from(address).map_err(|invalid| invalid.to_string()))
}

pub(crate) fn asn(node: &Node) -> Result<NonZeroU32, String> {
    let number = integer(node)?;
    let asn = u32::try_from(number).ok().and_then(NonZeroU32::new);
    asn.ok_or_else(|| format!("{number} is not an AS number; they go from 1 to 4294967295"))
}

pub(crate) fn password(node: &Node) -> Result<Password, String> {
    Password::try_from(text(node)?.to_owned()).map_err(|invalid| invalid.to_string())
}

/// An address of the family of the peer's.
pub(crate) fn source(node: &Node, peer: Option<PeerAddress>) -> Result<PeerAddress, String> {
    let source = peer_address(node)?;
    match peer {
        Some(peer) if !source.is_of_the_family_of(peer) => {
            Err(format!("{source} and {peer} are of different families: one cannot connect to the other"))
        }
        _ => Ok(source),
    }
}

pub(crate) fn next_hop(node: &Node) -> Result<NextHop, String> {
    let text = text(node)?;
    let address: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address"))?;
    NextHop::try_from(address).map_err(|invalid| invalid.to_string())
}

pub(crate) fn hold_time(node: &Node) -> Result<HoldTime, String> {
    HoldTime::try_from(duration(node)?).map_err(|invalid| invalid.to_string())
}

pub(crate) fn restart_time(node: &Node) -> Result<RestartTime, String> {
    RestartTime::try_from(duration(node)?).map_err(|invalid| invalid.to_string())
}

/// Up to a day.
pub(crate) fn shutdown_time(node: &Node) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    let time = duration(node)?;
    if time > LONGEST { Err("must be a day at most".to_owned()) } else { Ok(time) }
}

pub(crate) fn words(node: &Node) -> Result<Words, String> {
    Words::try_from(text(node)?.to_owned()).map_err(|invalid| invalid.to_string())
}

pub(crate) fn u32(node: &Node) -> Result<u32, String> {
    let number = integer(node)?;
    u32::try_from(number).map_err(|_| format!("{number} does not fit; it goes from 0 to 4294967295"))
}

pub(crate) fn prepend(node: &Node) -> Result<Prepend, String> {
    Prepend::try_from(integer(node)?).map_err(|invalid| invalid.to_string())
}

pub(crate) fn communities(node: &Node) -> Result<Communities, String> {
    let Node::List(items) = node else { return Err(format!("must be an array in [], not {}", node.kind())) };
    let community = |node| text(node)?.parse::<Community>().map_err(|invalid: Invalid| invalid.to_string());
    let all = items.iter().map(community).collect::<Result<Vec<_>, _>>()?;
    Communities::try_from_iter(all).map_err(|invalid| invalid.to_string())
}

pub(crate) fn flag(node: &Node) -> Result<bool, String> {
    match node {
        Node::Bool(flag) => Ok(*flag),
        Node::Null | Node::Number(_) | Node::Text(_) | Node::List(_) | Node::Object(_) => {
            Err(format!("must be true or false, not {}", node.kind()))
        }
    }
}

pub(crate) fn forwarding(node: &Node) -> Result<ForwardingKind, String> {
    text(node)?.parse::<ForwardingKind>().map_err(|invalid| invalid.to_string())
}

pub(crate) fn advertise(node: &Node) -> Result<Advertise, String> {
    text(node)?.parse::<Advertise>().map_err(|invalid| invalid.to_string())
}

pub(crate) fn source_nat(node: &Node) -> Result<SourceNat, String> {
    text(node)?.parse::<SourceNat>().map_err(|invalid| invalid.to_string())
}

/// `None` for null.
pub(crate) fn proxy_protocol(node: &Node) -> Result<Option<ProxyProtocol>, String> {
    if *node == Node::Null {
        return Ok(None);
    }
    text(node)?.parse::<ProxyProtocol>().map(Some).map_err(|invalid| invalid.to_string())
}

pub(crate) fn scheduler(node: &Node) -> Result<Scheduler, String> {
    text(node)?.parse::<Scheduler>().map_err(|invalid| invalid.to_string())
}

pub(crate) fn scheduler_flags(node: &Node) -> Result<SchedulerFlags, String> {
    let Node::List(items) = node else { return Err(format!("must be an array in [], not {}", node.kind())) };
    items.iter().try_fold(SchedulerFlags::default(), |flags, name| {
        flags.with(text(name)?).map_err(|invalid| invalid.to_string())
    })
}

pub(crate) fn protocol(node: &Node) -> Result<Protocol, String> {
    text(node)?.parse::<Protocol>().map_err(|invalid| invalid.to_string())
}

/// A number is one of seconds.
pub(crate) fn persistence_timeout(node: &Node) -> Result<PersistenceTimeout, String> {
    let time = match node {
        Node::Number(_) => Duration::from_secs(u32(node)?.into()),
        Node::Null | Node::Bool(_) | Node::Text(_) | Node::List(_) | Node::Object(_) => duration(node)?,
    };
    PersistenceTimeout::try_from(time).map_err(|invalid| invalid.to_string())
}

/// A prefix length. Whether it fits the family, the core knows.
pub(crate) fn granularity(node: &Node) -> Result<u8, String> {
    let number = integer(node)?;
    u8::try_from(number).map_err(|_| format!("{number} is not a number of leading bits of an address"))
}

pub(crate) fn tunnel_name(node: &Node) -> Result<String, String> {
    text(node).map(str::to_owned)
}

pub(crate) fn phase(node: &Node) -> Result<Phase, String> {
    match text(node)? {
        "active" => Ok(Phase::Active),
        "deleting" => Ok(Phase::Deleting),
        other => Err(format!("{other:?} is not a status; there are \"active\" and \"deleting\"")),
    }
}

pub(crate) fn uuid(node: &Node) -> Result<Uuid, String> {
    let text = text(node)?;
    parse_uuid(text).ok_or_else(|| format!("{text:?} is not a UUID"))
}

/// The form with hyphens only, in upper or lower case.
pub(crate) fn parse_uuid(text: &str) -> Option<Uuid> {
    text.parse().ok().map(Hyphenated::into_uuid)
}

pub(crate) fn text(node: &Node) -> Result<&str, String> {
    match node {
        Node::Text(text) => Ok(text),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Object(_) => {
            Err(format!("must be a string in \"\", not {}", node.kind()))
        }
    }
}

/// A time with its unit.
pub(crate) fn duration(node: &Node) -> Result<Duration, String> {
    let text = text(node)?;
    humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}; write it like \"90s\" or \"2m\""))
}

/// A whole number. `6443.0` is one, as JSON Schema has it.
pub(crate) fn integer(node: &Node) -> Result<i64, String> {
    match node {
        Node::Number(number) if number.fract() != 0.0 => Err(format!("{number} is not a whole number")),
        Node::Number(number) if number.abs() > EXACT => Err(format!("{number:e} is too large")),
        Node::Number(number) => Ok(*number as i64),
        Node::Text(text) if text.parse::<f64>().is_ok() => {
            Err(format!("must be a number, not a string: write {text} without the quotes"))
        }
        Node::Null | Node::Bool(_) | Node::Text(_) | Node::List(_) | Node::Object(_) => {
            Err(format!("must be a number, not {}", node.kind()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_floats_are_integers_and_nothing_else_is() {
        for (json, expected) in [
            ("6443", Ok(6443)),
            ("6443.0", Ok(6443)),
            ("6.443e3", Ok(6443)),
            ("65535", Ok(65535)),
            ("1", Ok(1)),
            ("0", Err("0 is not a port")),
            ("-0.0", Err("0 is not a port")),
            ("-1", Err("-1 is not a port")),
            ("65536", Err("65536 is not a port")),
            ("65616", Err("65616 is not a port")),
            ("6443.5", Err("6443.5 is not a whole number")),
            ("18446744073709551696", Err("too large")),
            ("\"80\"", Err("write 80 without the quotes")),
            ("\"http\"", Err("not a string")),
            ("null", Err("not null")),
            ("true", Err("not a boolean")),
            ("[80]", Err("not an array")),
            ("{}", Err("not an object")),
        ] {
            let read = port(&Node::parse(json.as_bytes()).unwrap()).map(Port::get);
            match (read, expected) {
                (Ok(port), Ok(expected)) => assert_eq!(port, expected, "{json}"),
                (Err(why), Err(expected)) => {
                    assert!(why.contains(expected) || why.contains("must be"), "{json}: {why}")
                }
                (read, _) => panic!("{json}: {read:?}"),
            }
        }
    }

    #[test]
    fn only_the_hyphenated_form_names_an_object() {
        let id = "087fcb0f-8e07-4123-a32f-e8e83a281023";
        assert!(parse_uuid(id).is_some() && parse_uuid(&id.to_uppercase()).is_some());
        for other in ["", "1", &id.replace('-', ""), &format!("{{{id}}}"), &format!("urn:uuid:{id}"), &id[1..]] {
            assert_eq!(parse_uuid(other), None, "{other}");
        }
    }
}
