// SPDX-License-Identifier: Apache-2.0
//! Several ports of one VIP: single ones and ranges, merged and in order. Pure.

use std::{fmt, str::FromStr};

use super::{Invalid, Mark, Port, Protocol, Vip};

/// How many ports and ranges a load-balancer has at most, after those that touch have become one.
pub const MAX_RANGES: usize = 64;

/// Ports from the first to the last, both included. A single port is a range, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// The first port.
    #[must_use]
    pub fn first(self) -> Port {
        self.first
    }

    /// The last port.
    #[must_use]
    pub fn last(self) -> Port {
        self.last
    }

    /// Ports from the first to the last.
    ///
    /// # Errors
    /// The first comes after the last.
    pub fn new(first: Port, last: Port) -> Result<Self, Invalid> {
        if first > last {
            return Err(Invalid(format!("{first}-{last} is no range of ports: {first} comes after {last}")));
        }
        Ok(Self { first, last })
    }

    /// From that port to the last that there is.
    #[must_use]
    pub fn up_from(first: Port) -> Self {
        Self { first, last: Port::HIGHEST }
    }

    /// The first port that both have.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Port> {
        let first = self.first.max(other.first);
        (first <= self.last.min(other.last)).then_some(first)
    }
}

impl From<Port> for PortRange {
    fn from(port: Port) -> Self {
        Self { first: port, last: port }
    }
}

impl FromStr for PortRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let port = |text: &str| {
            let number = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = number.and_then(|text| text.parse::<i64>().ok());
            Port::try_from(number.ok_or_else(|| Invalid(format!("{text:?} is not a port")))?)
        };
        match text.split_once('-') {
            Some((first, last)) => Self::new(port(first)?, port(last)?),
            None => port(text).map(Self::from),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// The ports of a load-balancer of several: at least one, at most [`MAX_RANGES`] ranges, in order, of which none touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ports(Box<[PortRange]>);

impl Ports {
    /// All ports that are in any of the ranges.
    ///
    /// # Errors
    /// There are none, or too many.
    pub fn new(ranges: impl IntoIterator<Item = PortRange>) -> Result<Self, Invalid> {
        let mut sorted: Vec<PortRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(before) if range.first.get() <= before.last.get().saturating_add(1) => {
                    before.last = before.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        match merged.len() {
            0 => Err(Invalid("has no port".to_owned())),
            count if count > MAX_RANGES => {
                Err(Invalid(format!("has {count} ports and ranges; a load-balancer has at most {MAX_RANGES}")))
            }
            _ => Ok(Self(merged.into())),
        }
    }

    /// In order.
    #[must_use]
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }

    /// The lowest port.
    #[must_use]
    pub fn lowest(&self) -> Port {
        self.0.first().map_or(Port::LOWEST, |range| range.first)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.0.iter().map(PortRange::to_string).collect();
        f.write_str(&ranges.join(", "))
    }
}

/// Which ports of its VIP a load-balancer is to have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// This one and no other, ever.
    Port(Port),
    /// These, which may be changed.
    Ports(Ports),
}

impl From<Port> for Listen {
    fn from(port: Port) -> Self {
        Self::Port(port)
    }
}

impl Listen {
    /// In order.
    #[must_use]
    pub fn ranges(&self) -> Vec<PortRange> {
        match self {
            Self::Port(port) => vec![(*port).into()],
            Self::Ports(ports) => ports.ranges().to_vec(),
        }
    }

    /// The lowest port.
    #[must_use]
    pub fn lowest(&self) -> Port {
        match self {
            Self::Port(port) => *port,
            Self::Ports(ports) => ports.lowest(),
        }
    }
}

/// The ports of a load-balancer of several, and the mark that makes them one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marked {
    /// The ports.
    pub ports: Ports,
    /// The mark, which nobody else has.
    pub mark: Mark,
}

/// Packets of this protocol to these ports of the VIP get the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarkRule {
    /// The VIP.
    pub vip: Vip,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRange,
    /// The mark.
    pub mark: Mark,
}

impl fmt::Display for MarkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vip, protocol, ports, mark } = self;
        write!(f, "{protocol} to {vip} ports {ports} with {mark}")
    }
}

#[cfg(test)]
mod tests;
