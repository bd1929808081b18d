// SPDX-License-Identifier: Apache-2.0
//! What a connection to a backend begins with, if it is to learn whose it is (HAProxy's proxy-protocol.txt, sections 2.1 and 2.2). Pure.
//!
//! ```text
//!  v1  PROXY TCP4 192.168.0.9 192.168.0.85 50000 80 CR LF          client, VIP, their ports
//!  v2  CR LF CR LF NUL CR LF QUIT LF | version, command | family | length | client | VIP | ports
//!                  12                |        1         |    1   |   2    | 4 or 16 each | 2 each
//! ```

use std::net::{IpAddr, SocketAddr};

use crate::model::ProxyProtocol;

/// Section 2.2. No line of text begins so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command `PROXY`.
const PROXY: u8 = 0x21;
/// `AF_INET` and `AF_INET6`, each with `STREAM`.
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Of a connection that is relayed for that client, who came to that address. If their families differ, both are written as IPv6.
#[must_use]
pub fn relayed(version: ProxyProtocol, client: SocketAddr, asked: SocketAddr) -> Vec<u8> {
    let [client_ip, asked_ip] = of_one_family([client.ip(), asked.ip()]);
    let (text, binary) = if client_ip.is_ipv4() { ("TCP4", TCP_OVER_IPV4) } else { ("TCP6", TCP_OVER_IPV6) };
    match version {
        ProxyProtocol::V1 => {
            format!("PROXY {text} {client_ip} {asked_ip} {} {}\r\n", client.port(), asked.port()).into_bytes()
        }
        ProxyProtocol::V2 => {
            let ports = [client.port().to_be_bytes(), asked.port().to_be_bytes()].concat();
            let ends = [octets(client_ip), octets(asked_ip), ports].concat();
            // 12 or 36.
            let length = u16::try_from(ends.len()).unwrap_or_default().to_be_bytes();
            [&SIGNATURE[..], &[PROXY, binary], &length, &ends].concat()
        }
    }
}

/// Of a connection of this host's own, such as a check's.
#[must_use]
pub fn own(version: ProxyProtocol) -> &'static [u8] {
    match version {
        ProxyProtocol::V1 => b"PROXY UNKNOWN\r\n",
        // The command `LOCAL`, of no family, and nothing else.
        ProxyProtocol::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    }
}

fn of_one_family(addresses: [IpAddr; 2]) -> [IpAddr; 2] {
    let addresses = addresses.map(|address| address.to_canonical());
    if addresses.iter().all(IpAddr::is_ipv4) {
        return addresses;
    }
    addresses.map(|address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use ppp::{HeaderResult, v1, v2};
    use proptest::prelude::*;

    use super::*;

    /// Of what another implementation reads.
    macro_rules! ends {
        ($read:expr) => {
            Some((
                ($read.source_address, $read.source_port).into(),
                ($read.destination_address, $read.destination_port).into(),
            ))
        };
    }

    /// Whom another implementation takes for the client, and what for the address that it came to.
    fn read(header: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        match HeaderResult::parse(header) {
            HeaderResult::V1(text) => {
                let text = text.unwrap();
                assert_eq!(text.header.len(), header.len(), "nothing follows it");
                match text.addresses {
                    v1::Addresses::Unknown => None,
                    v1::Addresses::Tcp4(read) => ends!(read),
                    v1::Addresses::Tcp6(read) => ends!(read),
                }
            }
            HeaderResult::V2(binary) => {
                let binary = binary.unwrap();
                assert_eq!(binary.as_bytes().len(), header.len(), "nothing follows it");
                let is_local = binary.addresses == v2::Addresses::Unspecified;
                assert_eq!(binary.command == v2::Command::Local, is_local);
                assert!(is_local || binary.protocol == v2::Protocol::Stream);
                match binary.addresses {
                    v2::Addresses::Unspecified => None,
                    v2::Addresses::IPv4(read) => ends!(read),
                    v2::Addresses::IPv6(read) => ends!(read),
                    v2::Addresses::Unix(_) => panic!("not of a network"),
                }
            }
        }
    }

    #[test]
    fn headers_are_what_the_specification_shows() {
        let (client, asked) = ("255.255.255.255:65535".parse().unwrap(), "192.168.0.85:80".parse().unwrap());
        assert_eq!(relayed(ProxyProtocol::V1, client, asked), b"PROXY TCP4 255.255.255.255 192.168.0.85 65535 80\r\n");
        assert_eq!(
            relayed(ProxyProtocol::V2, client, asked),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xff\xff\xff\xff\xc0\xa8\x00\x55\xff\xff\x00\x50"
        );
        let (client, asked) = ("[fd00::9]:50000".parse().unwrap(), "[fd00::85]:443".parse().unwrap());
        assert_eq!(relayed(ProxyProtocol::V1, client, asked), b"PROXY TCP6 fd00::9 fd00::85 50000 443\r\n");
        assert_eq!(own(ProxyProtocol::V2), b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
        assert_eq!(ProxyProtocol::ALL.map(|version| read(own(version))), [None, None]);
    }

    proptest! {
        #[test]
        fn others_read_what_is_written(client: SocketAddr, asked: SocketAddr, v1: bool) {
            let version = if v1 { ProxyProtocol::V1 } else { ProxyProtocol::V2 };
            let header = relayed(version, client, asked);
            // Section 2.1: a buffer of 108 bytes is always enough.
            prop_assert!(header.len() < 108);
            let canonical = |of: SocketAddr| (of.ip().to_canonical(), of.port());
            let (read_client, read_asked) = read(&header).unwrap();
            prop_assert_eq!((canonical(read_client), canonical(read_asked)), (canonical(client), canonical(asked)));
            let is_ipv4 = canonical(client).0.is_ipv4() && canonical(asked).0.is_ipv4();
            prop_assert_eq!(read_client.is_ipv4(), is_ipv4);
        }
    }
}
