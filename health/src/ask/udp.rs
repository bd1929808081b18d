// SPDX-License-Identifier: Apache-2.0
//! Sends a datagram and looks at the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use slb_core::model::check::UdpQuestion;
use socket2::SockRef;
use tokio::net::UdpSocket;

use super::way::Way;
use crate::failure::{Failure, quote};

/// Bytes of an answer that are looked at.
const LONGEST: usize = 4 << 10;

pub(super) async fn ask(question: &UdpQuestion, to: SocketAddr, way: Way) -> Result<(), Failure> {
    let socket = open(to, way).await?;
    socket.send(question.payload.bytes()).await.map_err(Failure::to("send the datagram"))?;
    let mut answer = vec![0; LONGEST];
    let length = socket.recv(&mut answer).await.map_err(Failure::to("read the answer"))?;
    let answer = answer.get(..length).unwrap_or_default();
    match &question.expect {
        Some(expected) if !expected.is_in(answer) => {
            Err(Failure::Wrong(format!("\"{expected}\" is not in the answer: \"{}\"", quote(answer))))
        }
        _ => Ok(()),
    }
}

/// A socket for datagrams to and from the backend alone.
pub(super) async fn open(to: SocketAddr, way: Way) -> Result<UdpSocket, Failure> {
    let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = way.source.unwrap_or(any);
    let socket = UdpSocket::bind((source, 0)).await.map_err(Failure::to("use the source address"))?;
    if let Some(mark) = way.mark {
        SockRef::from(&socket).set_mark(mark).map_err(Failure::to("mark the datagrams"))?;
    }
    socket.connect(to).await.map_err(Failure::to("reach the backend"))?;
    Ok(socket)
}
