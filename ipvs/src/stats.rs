// SPDX-License-Identifier: Apache-2.0
//! Counters and rates of a service or a destination (`IPVS_STATS_ATTR_…`).

use netlink_packet_core::{DecodeError, parse_u32, parse_u64};

use crate::{
    attribute::{self, Attributes, Sink},
    uapi::*,
};

/// Counters since the last zeroing, and rates. The kernel brings them up to date every two seconds.
///
/// The kernel sends them twice, with 32 bits (`IPVS_SVC_ATTR_STATS`) and since 4.1 with 64 (`…_STATS64`).
/// Counters that a later kernel may add are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients; only masquerading sees them.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients; only masquerading sees them.
    pub out_bytes: u64,
    /// Connections per second.
    pub connection_rate: u64,
    /// Packets from clients per second.
    pub in_packet_rate: u64,
    /// Packets to clients per second.
    pub out_packet_rate: u64,
    /// Bytes from clients per second.
    pub in_byte_rate: u64,
    /// Bytes to clients per second.
    pub out_byte_rate: u64,
}

impl Stats {
    /// `IPVS_SVC_ATTR_STATS`, `IPVS_DEST_ATTR_STATS`: 32 bits, but for the bytes.
    pub(crate) fn read_narrow(payload: &[u8]) -> Result<Self, DecodeError> {
        Stats::read(payload, |value| parse_u32(value).map(u64::from))
    }

    /// `IPVS_SVC_ATTR_STATS64`, `IPVS_DEST_ATTR_STATS64`.
    pub(crate) fn read_wide(payload: &[u8]) -> Result<Self, DecodeError> {
        Stats::read(payload, parse_u64)
    }

    fn read(payload: &[u8], number: fn(&[u8]) -> Result<u64, DecodeError>) -> Result<Self, DecodeError> {
        let mut stats = Stats::default();
        attribute::read(payload, &mut Vec::new(), |kind, value| {
            match kind {
                IPVS_STATS_ATTR_CONNS => stats.connections = number(value)?,
                IPVS_STATS_ATTR_INPKTS => stats.in_packets = number(value)?,
                IPVS_STATS_ATTR_OUTPKTS => stats.out_packets = number(value)?,
                IPVS_STATS_ATTR_INBYTES => stats.in_bytes = parse_u64(value)?,
                IPVS_STATS_ATTR_OUTBYTES => stats.out_bytes = parse_u64(value)?,
                IPVS_STATS_ATTR_CPS => stats.connection_rate = number(value)?,
                IPVS_STATS_ATTR_INPPS => stats.in_packet_rate = number(value)?,
                IPVS_STATS_ATTR_OUTPPS => stats.out_packet_rate = number(value)?,
                IPVS_STATS_ATTR_INBPS => stats.in_byte_rate = number(value)?,
                IPVS_STATS_ATTR_OUTBPS => stats.out_byte_rate = number(value)?,
                // IPVS_STATS_ATTR_PAD aligns the 64-bit values on some machines.
                _ => {}
            }
            Ok(true)
        })?;
        Ok(stats)
    }
}

/// Written with 32 bits, but for the bytes. What is more is cut off, as the kernel does.
pub(crate) struct Narrow<'a>(pub &'a Stats);

/// Written with 64 bits.
pub(crate) struct Wide<'a>(pub &'a Stats);

impl Attributes for Narrow<'_> {
    fn write(&self, sink: &mut impl Sink) {
        let stats = self.0;
        let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
        sink.put_u32(IPVS_STATS_ATTR_CONNS, low(stats.connections));
        sink.put_u32(IPVS_STATS_ATTR_INPKTS, low(stats.in_packets));
        sink.put_u32(IPVS_STATS_ATTR_OUTPKTS, low(stats.out_packets));
        sink.put_u64(IPVS_STATS_ATTR_INBYTES, stats.in_bytes);
        sink.put_u64(IPVS_STATS_ATTR_OUTBYTES, stats.out_bytes);
        sink.put_u32(IPVS_STATS_ATTR_CPS, low(stats.connection_rate));
        sink.put_u32(IPVS_STATS_ATTR_INPPS, low(stats.in_packet_rate));
        sink.put_u32(IPVS_STATS_ATTR_OUTPPS, low(stats.out_packet_rate));
        sink.put_u32(IPVS_STATS_ATTR_INBPS, low(stats.in_byte_rate));
        sink.put_u32(IPVS_STATS_ATTR_OUTBPS, low(stats.out_byte_rate));
    }
}

impl Attributes for Wide<'_> {
    fn write(&self, sink: &mut impl Sink) {
        let stats = self.0;
        sink.put_u64(IPVS_STATS_ATTR_CONNS, stats.connections);
        sink.put_u64(IPVS_STATS_ATTR_INPKTS, stats.in_packets);
        sink.put_u64(IPVS_STATS_ATTR_OUTPKTS, stats.out_packets);
        sink.put_u64(IPVS_STATS_ATTR_INBYTES, stats.in_bytes);
        sink.put_u64(IPVS_STATS_ATTR_OUTBYTES, stats.out_bytes);
        sink.put_u64(IPVS_STATS_ATTR_CPS, stats.connection_rate);
        sink.put_u64(IPVS_STATS_ATTR_INPPS, stats.in_packet_rate);
        sink.put_u64(IPVS_STATS_ATTR_OUTPPS, stats.out_packet_rate);
        sink.put_u64(IPVS_STATS_ATTR_INBPS, stats.in_byte_rate);
        sink.put_u64(IPVS_STATS_ATTR_OUTBPS, stats.out_byte_rate);
    }
}
