// SPDX-License-Identifier: Apache-2.0
//! The devices that slb makes on a backend's host.

use std::fmt;

use netlink_packet_route::link::{
    InfoData, InfoGre, InfoGre6, InfoIpTunnel, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::wish::{Family, Tunnel, Wish};

/// A device of slb's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Device {
    /// Has the VIPs, and no network behind it.
    Vips,
    /// Takes IPv4 in IPv4 out.
    Ipip,
    /// Takes IPv6 in IPv4 out.
    Sit,
    /// Takes both in IPv6 out.
    Ip6tnl,
    /// Takes both in GRE over IPv4 out.
    Gre,
    /// Takes both in GRE over IPv6 out.
    Ip6gre,
}

impl Device {
    pub(super) const TUNNELS: [Self; 5] = [Self::Ipip, Self::Sit, Self::Ip6tnl, Self::Gre, Self::Ip6gre];

    /// Those that take the wished tunnels apart. GUE packets are IP in IP once the UDP header is off.
    pub(super) fn tunnels(wish: &Wish) -> impl Iterator<Item = Self> {
        let wanted = |device: &Self| match (device, wish.tunnel) {
            (Self::Ipip, Some(Tunnel::Ipip | Tunnel::Gue(_))) => {
                wish.has(Family::V4) && wish.over.contains(&Family::V4)
            }
            (Self::Sit, Some(Tunnel::Ipip | Tunnel::Gue(_))) => wish.has(Family::V6) && wish.over.contains(&Family::V4),
            (Self::Ip6tnl, Some(Tunnel::Ipip | Tunnel::Gue(_))) | (Self::Ip6gre, Some(Tunnel::Gre)) => {
                wish.over.contains(&Family::V6)
            }
            (Self::Gre, Some(Tunnel::Gre)) => wish.over.contains(&Family::V4),
            _ => false,
        };
        Self::TUNNELS.into_iter().filter(wanted)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vips => "slb0",
            Self::Ipip => "slb-ipip",
            Self::Sit => "slb-sit",
            Self::Ip6tnl => "slb-ip6tnl",
            Self::Gre => "slb-gre",
            Self::Ip6gre => "slb-ip6gre",
        }
    }

    /// Whether IPv4 packets come out of it.
    pub(super) fn takes_ipv4(self) -> bool {
        match self {
            Self::Vips | Self::Sit => false,
            Self::Ipip | Self::Ip6tnl | Self::Gre | Self::Ip6gre => true,
        }
    }

    /// The message that makes it, up.
    pub(super) fn message(self) -> LinkMessage {
        // One for whatever comes from wherever (`collect_md`): it lives beside the kernel's own tunl0 and the like.
        let iptunnel = || Some(InfoData::IpTunnel(vec![InfoIpTunnel::CollectMetadata]));
        let (kind, data) = match self {
            Self::Vips => (InfoKind::Dummy, None),
            Self::Ipip => (InfoKind::IpIp, iptunnel()),
            // The only one without such a mode; without addresses it takes what no other takes.
            Self::Sit => (InfoKind::SitTun, None),
            Self::Ip6tnl => (InfoKind::Ip6Tnl, iptunnel()),
            Self::Gre => (InfoKind::GreTun, Some(InfoData::GreTun(vec![InfoGre::CollectMetadata]))),
            Self::Ip6gre => (InfoKind::GreTun6, Some(InfoData::GreTun6(vec![InfoGre6::CollectMetadata]))),
        };
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let infos = std::iter::once(LinkInfo::Kind(kind)).chain(data.map(LinkInfo::Data)).collect();
        message.attributes = vec![LinkAttribute::IfName(self.name().to_owned()), LinkAttribute::LinkInfo(infos)];
        message
    }
}

/// As ip(8) has it behind `ip link add`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Vips => "dummy",
            Self::Ipip => "ipip mode ipip external",
            Self::Sit => "sit",
            Self::Ip6tnl => "ip6tnl mode any external",
            Self::Gre => "gre external",
            Self::Ip6gre => "ip6gre external",
        };
        write!(f, "{} up type {kind}", self.name())
    }
}
