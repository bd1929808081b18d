// SPDX-License-Identifier: Apache-2.0
//! Echoes of this host.

use std::net::IpAddr;

use super::*;

#[tokio::test]
async fn this_host_answers() {
    for host in ["127.0.0.1:1", "127.9.9.9:1"] {
        assert_eq!(ask(Question::Icmp, host.parse().unwrap()).await, Ok(()), "{host}");
    }
}

#[tokio::test]
async fn an_echo_comes_from_an_own_address() {
    let source = Some(IpAddr::from([192, 0, 2, 1]).try_into().unwrap());
    let check =
        Check { question: Question::Icmp, timing: Timing::default(), address: Address::default(), port: None, source };
    contains(make(check, "127.0.0.1:1".parse().unwrap()).await, "Cannot assign requested address");
}
