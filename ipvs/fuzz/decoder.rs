// SPDX-License-Identifier: Apache-2.0
//! What the fuzz target and the tests do with bytes.

use ipvs::{Command, Daemon, Family, ObservedDestination, ObservedService, wire::Message};
use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

/// Decodes bytes as a command and its attributes. What can be decoded is encoded to something that is decoded to the same, and
/// can be turned into what it says, or not, without panicking.
pub fn feed(bytes: &[u8]) {
    let Some((command, payload)) = bytes.split_first() else { return };
    let header = GenlHeader { cmd: *command, version: 1 };
    let Ok(message) = Message::parse_with_param(payload, header) else { return };

    let mut encoded = vec![0; message.buffer_len()];
    message.emit(&mut encoded);
    let again = Message::parse_with_param(&encoded, header).expect("what was encoded can be decoded");
    assert_eq!(again, message);
    assert_eq!(Command::from(message.command()), message.command);

    let content = message.content;
    if let Some(Ok(service)) = content.service.map(ObservedService::try_from) {
        let _said = service.as_requested().to_string();
    }
    for family in [Family::Inet, Family::Inet6] {
        let destination = content.destination.clone();
        if let Some(Ok(destination)) = destination.map(|it| ObservedDestination::from_attributes(it, family)) {
            let _said = destination.as_requested().to_string();
        }
    }
    if let Some(Ok(daemon)) = content.daemon.map(Daemon::try_from) {
        let _said = daemon.to_string();
    }
}
