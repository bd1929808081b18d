// SPDX-License-Identifier: Apache-2.0
//! Name servers. What their messages can look like is tested beside the codec.

use slb_core::model::check::{DnsQuestion, RecordType};
use tokio::net::UdpSocket;

use super::*;

/// A server that gives every name the address 192.0.2.1, after an answer to somebody else's query; with a code.
async fn server(code: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut read = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut read).await.unwrap();
            let mut answer = read[..length].to_vec();
            (answer[2], answer[3]) = (0x81, 0x80 | code);
            if code == 0 {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            }
            let mut other = answer.clone();
            other[0] ^= 1;
            other.truncate(20);
            for message in [other, answer] {
                socket.send_to(&message, from).await.unwrap();
            }
        }
    });
    address
}

fn name(kind: RecordType, expected: Option<&str>) -> Question {
    let expect = expected.map(|text| text.to_owned().try_into().unwrap());
    Question::Dns(DnsQuestion { name: "www.example.org".parse().unwrap(), record_type: kind, expect })
}

#[tokio::test]
async fn a_name_server_knows_the_name() {
    let good = server(0).await;
    assert_eq!(ask(name(RecordType::A, None), good).await, Ok(()));
    assert_eq!(ask(name(RecordType::A, Some("192.0.2.1")), good).await, Ok(()));
    let other = ask(name(RecordType::A, Some("192.0.2.2")), good).await;
    contains(other, "192.0.2.2 is none of the records of type A of www.example.org: 192.0.2.1");
    contains(ask(name(RecordType::Mx, None), good).await, "there are no records of type MX of www.example.org");
    contains(ask(name(RecordType::A, None), server(3).await).await, "the server answers NXDOMAIN");
}
