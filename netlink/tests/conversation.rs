// SPDX-License-Identifier: Apache-2.0
//! Conversations with the kernel that needs no privileges: the generic netlink controller and the list of links.

use std::{convert::Infallible, time::Duration};

use netlink::{Error, KernelError, Request, Socket, protocols};
use netlink_packet_core::{NLM_F_ACK, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_generic::{
    GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};

/// `GENL_ID_CTRL`, the one family that is always there.
const CONTROLLER: u16 = 0x10;
/// No family has the highest number.
const NOBODY: u16 = u16::MAX;

type Controller = GenlMessage<GenlCtrl>;

fn lookup(family: u16) -> Request<Controller> {
    GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyId(family)] })
        .into()
}

fn errno(verdict: &Result<(), KernelError>) -> i32 {
    verdict.as_ref().err().map_or(0, KernelError::errno)
}

fn name(answer: &Controller) -> Option<&str> {
    answer
        .payload
        .nlas
        .iter()
        .find_map(|attribute| if let GenlCtrlAttrs::FamilyName(name) = attribute { Some(name.as_str()) } else { None })
}

#[tokio::test]
async fn every_request_of_many_packs_gets_its_own_verdict() {
    let mut socket = Socket::open(protocols::NETLINK_GENERIC).unwrap();
    // More than the receive buffer could answer at once, so several packs.
    let asked = (0..10_000).map(|n| if n % 97 == 0 { CONTROLLER } else { NOBODY });
    let verdicts = socket.transact(asked.clone().map(lookup)).await.unwrap();
    let expected: Vec<_> = asked.map(|family| if family == CONTROLLER { 0 } else { libc::ENOENT }).collect();
    assert_eq!(verdicts.iter().map(errno).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn nothing_to_do_is_done_at_once() {
    let mut socket = Socket::<Controller>::open(protocols::NETLINK_GENERIC).unwrap();
    assert_eq!(socket.transact([]).await.unwrap(), []);
    assert_eq!(socket.transact_atomic([]).await.unwrap(), []);
}

#[tokio::test]
async fn a_sequence_of_the_callers_flags_is_answered_by_number() {
    let mut socket = Socket::open(protocols::NETLINK_GENERIC).unwrap();
    let mut last = lookup(CONTROLLER);
    last.flags = NLM_F_ACK;
    let verdicts = socket.transact_atomic([lookup(NOBODY), lookup(CONTROLLER), last]).await.unwrap();
    assert_eq!(verdicts.iter().map(errno).collect::<Vec<_>>(), [libc::ENOENT, 0, 0]);
}

#[tokio::test]
async fn a_sequence_too_long_for_one_send_is_refused_before_sending() {
    let mut socket = Socket::open(protocols::NETLINK_GENERIC).unwrap();
    match socket.transact_atomic((0..1_000_000).map(|_| lookup(NOBODY))).await {
        Err(Error::TooLarge { size, limit, .. }) => assert!(size > limit),
        other => panic!("{other:?}"),
    }
    assert_eq!(name(&socket.request(lookup(CONTROLLER)).await.unwrap()), Some("nlctrl"));
}

#[tokio::test]
async fn a_question_gets_its_answer_or_the_kernels_refusal() {
    let mut socket = Socket::open(protocols::NETLINK_GENERIC).unwrap();
    assert_eq!(name(&socket.request(lookup(CONTROLLER)).await.unwrap()), Some("nlctrl"));
    let error = socket.request(lookup(NOBODY)).await.unwrap_err();
    assert_eq!(error.refusal().map(KernelError::errno), Some(libc::ENOENT), "{error:?}");
    assert_eq!(error.refusal().map(KernelError::kind), Some(std::io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_dump_hands_over_every_object() {
    let mut socket = Socket::open(protocols::NETLINK_ROUTE).unwrap();
    let mut links = 0;
    socket
        .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), |link| {
            assert!(matches!(link, RouteNetlinkMessage::NewLink(_)), "{link:?}");
            links += 1;
        })
        .await
        .unwrap();
    assert_eq!(links, std::fs::read_dir("/sys/class/net").unwrap().count());
}

/// Asks for all families, and cannot read the first answer.
#[derive(Debug)]
struct Unreadable(Controller);

impl NetlinkSerializable for Unreadable {
    fn message_type(&self) -> u16 {
        self.0.message_type()
    }
    fn buffer_len(&self) -> usize {
        NetlinkSerializable::buffer_len(&self.0)
    }
    fn serialize(&self, buffer: &mut [u8]) {
        self.0.serialize(buffer);
    }
}

impl NetlinkDeserializable for Unreadable {
    type Error = std::fmt::Error;
    fn deserialize(_: &NetlinkHeader, _: &[u8]) -> Result<Self, Self::Error> {
        Err(std::fmt::Error)
    }
}

#[tokio::test]
async fn what_an_abandoned_dump_left_behind_does_not_disturb_the_next_operation() {
    let all =
        || Request::from(Unreadable(GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![] })));
    let mut socket = Socket::open(protocols::NETLINK_GENERIC).unwrap();
    for _ in 0..3 {
        // With a dump still running the kernel would answer EBUSY here.
        let error = socket.dump(all(), |_| {}).await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    }
    let verdicts = socket.transact([all()]).await.unwrap();
    assert_eq!(errno(&verdicts[0]), libc::EINVAL);
}

/// A message type that no protocol of the kernel answers without being asked for an acknowledgement.
#[derive(Debug)]
struct Silent;

impl NetlinkSerializable for Silent {
    fn message_type(&self) -> u16 {
        netlink_packet_core::NLMSG_NOOP
    }
    fn buffer_len(&self) -> usize {
        0
    }
    fn serialize(&self, _: &mut [u8]) {}
}

impl NetlinkDeserializable for Silent {
    type Error = Infallible;
    fn deserialize(_: &NetlinkHeader, _: &[u8]) -> Result<Self, Self::Error> {
        Ok(Silent)
    }
}

#[tokio::test]
async fn a_missing_answer_ends_in_a_timeout() {
    let mut socket = Socket::open(protocols::NETLINK_GENERIC).unwrap();
    socket.set_timeout(Duration::from_millis(10));
    // The kernel passes over control messages, so this dump has no end.
    let error = socket.dump(Silent, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    let error = socket.request(Silent).await.unwrap_err();
    assert!(matches!(error, Error::NoReply), "{error:?}");
}
