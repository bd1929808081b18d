// SPDX-License-Identifier: Apache-2.0
//! What is asked for wrongly is an error: these functions are safe whatever they are called with.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io, net::UdpSocket};

use slb_ffi::{
    adapter,
    ipvs::{Question, ask},
    packet::{self, Watched},
    tcp,
};
use socket2::{Domain, Socket, Type};

fn udp() -> Socket {
    Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap()
}

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn another_socket_says_nothing_of_an_adapter() {
    assert_eq!(code(packet::hardware(&udp())), Some(libc::EAFNOSUPPORT));
}

#[tokio::test]
async fn what_another_socket_gets_is_nobodys() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let to = socket.local_addr().unwrap();
    let watched = Watched::new(socket.into()).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", to).unwrap();
    assert_eq!(code(watched.receive(&mut [0; 16]).await), Some(libc::EAFNOSUPPORT));
}

#[test]
fn names_that_are_too_long_are_of_no_adapter() {
    assert!(adapter::index(&udp(), "lo").unwrap() > 0);
    for name in ["", "no-such-adapter", "sixteen-letters!", &"x".repeat(1000)] {
        assert_eq!(code(adapter::index(&udp(), name)), Some(libc::ENODEV), "{name}");
        assert_eq!(code(adapter::flags(&udp(), name)), Some(libc::ENODEV), "{name}");
        assert_eq!(code(adapter::has_carrier(&udp(), name)), Some(libc::ENODEV), "{name}");
    }
}

#[test]
fn keys_that_are_too_long_are_refused() {
    let refused = tcp::sign(&udp(), "127.0.0.1".parse().unwrap(), &[7; 81]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
}

/// The kernel of this machine may have IPVS or not.
#[test]
fn questions_of_another_size_are_not_answered() {
    for question in [Question::Info, Question::Services, Question::Destinations] {
        for length in [0, 1, 3, 7, 23] {
            let mut room = vec![7; length];
            assert!(ask(&udp(), question, &mut room).is_err(), "{question:?}, {length}");
            assert!(room.iter().all(|byte| *byte == 7), "{question:?}, {length}");
        }
    }
    // Older kernels would take these for 2^29 and 2^27 entries if they were asked.
    for (question, length, count) in [(Question::Services, 8, 0..4), (Question::Destinations, 24, 16..20)] {
        let mut room = vec![0; length];
        room[count.clone()].copy_from_slice(&(1_u32 << 29).to_ne_bytes());
        let _ = ask(&udp(), question, &mut room);
        assert_eq!(room[count], [0; 4], "{question:?}");
    }
    let unix = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
    assert!(ask(&unix, Question::Info, &mut [0; 12]).is_err());
}
