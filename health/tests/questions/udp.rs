// SPDX-License-Identifier: Apache-2.0
//! Datagrams.

use slb_core::model::check::UdpQuestion;
use tokio::net::UdpSocket;

use super::*;

/// A server that answers each datagram with it and more; `None` is silent.
async fn echo(more: Option<&'static [u8]>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut read = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut read).await.unwrap();
            if let Some(more) = more {
                socket.send_to(&[&read[..length], more].concat(), from).await.unwrap();
            }
        }
    });
    address
}

fn datagram(payload: &str, expect: Option<&str>) -> Question {
    let expect = expect.map(|text| text.parse().unwrap());
    Question::Udp(UdpQuestion { payload: payload.parse().unwrap(), expect })
}

#[tokio::test]
async fn the_answer_has_to_have_what_is_expected() {
    let pong = echo(Some(b"\x00pong")).await;
    for expected in [Some(r"ping\x00po"), Some(""), None] {
        assert_eq!(ask(datagram("ping", expected), pong).await, Ok(()), "{expected:?}");
    }
    contains(ask(datagram("", Some("pang")), pong).await, r#""pang" is not in the answer: "\0pong""#);
}

#[tokio::test]
async fn silence_is_fine_unless_an_answer_is_expected() {
    let silent = echo(None).await;
    assert_eq!(ask_within(BRIEF, datagram("x", None), silent).await, Ok(()));
    contains(ask_within(BRIEF, datagram("x", Some("")), silent).await, "no answer within 50ms");
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    contains(ask(datagram("x", None), closed).await, "Connection refused");
}
