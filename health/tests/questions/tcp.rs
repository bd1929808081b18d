// SPDX-License-Identifier: Apache-2.0
//! Connections.

use std::{fs, io::ErrorKind, net::IpAddr};

use slb_core::peer::PeerAddress;
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::*;

#[tokio::test]
async fn a_connection_is_enough() {
    let (told, mut ends) = mpsc::unbounded_channel();
    let address = serve(move |mut connection| {
        let told = told.clone();
        async move {
            let end = connection.read_u8().await.map_err(|error| error.kind());
            told.send((connection.peer_addr(), end)).unwrap();
        }
    })
    .await;
    assert_eq!(ask(Question::Tcp, address).await, Ok(()));
    // It is reset, so that no port of the checker's is in TIME_WAIT (6).
    assert_eq!(ends.recv().await.unwrap().1, Err(ErrorKind::ConnectionReset));
    let port = format!(":{:04X} 06 ", address.port());
    assert!(!fs::read_to_string("/proc/self/net/tcp").unwrap().contains(&port));
}

#[tokio::test]
async fn nobody_refuses() {
    contains(ask(Question::Tcp, nobody().await).await, "cannot connect: Connection refused");
}

#[tokio::test]
async fn the_port_and_the_source_can_be_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let own = |text: &str| PeerAddress::try_from(text.parse::<IpAddr>().unwrap()).unwrap();
    let source = own("127.0.0.9");
    let check = Check {
        question: Question::Tcp,
        timing: Timing::every(PATIENT).unwrap(),
        address: Address::default(),
        port: Some(i64::from(address.port()).try_into().unwrap()),
        source: Some(source),
    };
    assert_eq!(make(check.clone(), nobody().await).await, Ok(()));
    let (_, from) = listener.accept().await.unwrap();
    assert_eq!(from.ip(), source.address());
    let check = Check { source: Some(own("192.0.2.1")), ..check };
    contains(make(check, address).await, "cannot use the source address");
}
