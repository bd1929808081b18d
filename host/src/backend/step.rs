// SPDX-License-Identifier: Apache-2.0
//! A change of a backend's host as a value: planned, printed as the command that does the same, carried out, and taken back.

use std::{fmt, net::IpAddr};

use slb_core::ports::SettingChange;

use super::{
    clamp::{Clamp, rule},
    device::Device,
    record::Record,
    wish::Family,
};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(pub(super) Kind);

/// Which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Make a device, up.
    Add(Device),
    /// Take it away.
    Delete(Device),
    /// Write down what was there before, on [`Device::Vips`].
    Note { from: Record, to: Record },
    /// Give a setting another value.
    Set(SettingChange),
    /// Let packets from a tunnel in whose sender is reached another way: the answer goes there directly.
    Loosen(Device),
    /// Put the kernel's own device for IPv6 in IPv4 to work.
    Up,
    /// Let it rest again.
    Down,
    /// Put a VIP on a device.
    Bind(IpAddr, Device),
    /// Take it off.
    Unbind(IpAddr, Device),
    /// Tell clients of the VIP how much fits into the tunnel, by this program.
    Clamp(String, Clamp),
    /// No more.
    Unclamp(String, Clamp),
    /// Take GUE packets at a UDP port.
    Listen(Family, u16),
    /// No more.
    Close(Family, u16),
}

/// The kernel's own device for IPv6 in IPv4, which it makes when it loads the module `sit`. What it takes, no other device gets.
pub(super) const SIT: &str = "sit0";

impl Kind {
    /// What takes it back; nothing where another step's undoing does.
    pub(super) fn inverse(&self) -> Option<Self> {
        Some(match self.clone() {
            Self::Add(device) => Self::Delete(device),
            Self::Delete(device) => Self::Add(device),
            Self::Note { from, to } => Self::Note { from: to, to: from },
            Self::Set(SettingChange { name, from, to }) => Self::Set(SettingChange { name, from: to, to: from }),
            Self::Loosen(_) => return None,
            Self::Up => Self::Down,
            Self::Down => Self::Up,
            Self::Bind(vip, device) => Self::Unbind(vip, device),
            Self::Unbind(vip, device) => Self::Bind(vip, device),
            Self::Clamp(program, clamp) => Self::Unclamp(program, clamp),
            Self::Unclamp(program, clamp) => Self::Clamp(program, clamp),
            Self::Listen(family, port) => Self::Close(family, port),
            Self::Close(family, port) => Self::Listen(family, port),
        })
    }
}

/// The setting that [`Kind::Loosen`] is about.
pub(super) fn filter_of(device: Device) -> String {
    format!("net.ipv4.conf.{}.rp_filter", device.name())
}

/// As a command of a shell that does the same.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |family: &Family| match family {
            Family::V4 => "",
            Family::V6 => "-6 ",
        };
        match &self.0 {
            Kind::Add(device) => write!(f, "ip link add {device}"),
            Kind::Delete(device) => write!(f, "ip link del {}", device.name()),
            Kind::Note { to, .. } => write!(f, "ip link set {} alias '{to}'", Device::Vips.name()),
            Kind::Set(change) => write!(f, "sysctl -w {}={}", change.name, change.to),
            Kind::Loosen(device) => write!(f, "sysctl -w {}=2", filter_of(*device)),
            Kind::Up => write!(f, "ip link set {SIT} up"),
            Kind::Down => write!(f, "ip link set {SIT} down"),
            Kind::Bind(vip, device) => match vip {
                IpAddr::V4(_) => write!(f, "ip addr add {vip}/32 dev {}", device.name()),
                IpAddr::V6(_) => write!(f, "ip addr add {vip}/128 dev {} nodad preferred_lft 0", device.name()),
            },
            Kind::Unbind(vip, device) => {
                write!(f, "ip addr del {vip}/{} dev {}", if vip.is_ipv4() { 32 } else { 128 }, device.name())
            }
            Kind::Clamp(program, clamp) => write!(f, "{program} -t mangle -A {}", rule(*clamp)),
            Kind::Unclamp(program, clamp) => write!(f, "{program} -t mangle -D {}", rule(*clamp)),
            Kind::Listen(family, port) => write!(f, "modprobe fou && ip {}fou add port {port} gue", of(family)),
            Kind::Close(family, port) => write!(f, "ip {}fou del port {port}", of(family)),
        }
    }
}
