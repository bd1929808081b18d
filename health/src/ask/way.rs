// SPDX-License-Identifier: Apache-2.0
//! How a question leaves this host.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use slb_core::{checker::Watch, peer::PeerAddress, proxy_header};

use crate::failure::Failure;

/// From which address, by which mark, and how its connections begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// `None`: the kernel's choice.
    pub(super) source: Option<IpAddr>,
    /// `SO_MARK`, which IPVS goes by.
    pub(super) mark: Option<u32>,
    /// A header of the PROXY protocol, or nothing.
    pub(super) header: &'static [u8],
}

impl Way {
    /// Of a question to a VIP the source is never the kernel's choice: as the VIP is this host's own, it would be the VIP, and the answer
    /// would never leave the backend.
    pub(super) fn of(watch: &Watch) -> Result<Self, Failure> {
        let source = watch.check.source.map(PeerAddress::address);
        let header = watch.proxy_protocol.map_or(&[][..], proxy_header::own);
        let Some(through) = watch.through else { return Ok(Self { source, mark: None, header }) };
        let source = match source {
            Some(source) => source,
            None => source_towards(watch.target).map_err(Failure::to("find a way to the backend"))?,
        };
        if source.is_ipv4() != through.vip.address().is_ipv4() {
            return Err(Failure::Wrong(
                "a backend of the other family than the VIP is asked from a source that is set".to_owned(),
            ));
        }
        Ok(Self { source: Some(source), mark: Some(through.mark.get()), header })
    }
}

/// From where the kernel would send to it. Nothing is sent.
fn source_towards(backend: SocketAddr) -> io::Result<IpAddr> {
    let any = if backend.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(backend)?;
    Ok(socket.local_addr()?.ip())
}
