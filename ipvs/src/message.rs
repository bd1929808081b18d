// SPDX-License-Identifier: Apache-2.0
//! One message of the family, in either direction: a command and its attributes.

use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized, parse_u32};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use crate::{
    Other,
    attribute::{self, Attributes, Sink},
    daemon::DaemonAttributes,
    destination_attributes::DestinationAttributes,
    service_attributes::ServiceAttributes,
    uapi::*,
};

/// `IPVS_CMD_…`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Add a service; also the answer to [`Command::GetService`].
    NewService,
    /// Modify a service.
    SetService,
    /// Delete a service.
    DelService,
    /// Get one service, or dump all.
    GetService,
    /// Add a destination; also the answer to [`Command::GetDest`].
    NewDest,
    /// Modify a destination.
    SetDest,
    /// Delete a destination.
    DelDest,
    /// Dump the destinations of a service.
    GetDest,
    /// Start a synchronisation daemon; also the answer to [`Command::GetDaemon`].
    NewDaemon,
    /// Stop a synchronisation daemon.
    DelDaemon,
    /// Dump the synchronisation daemons.
    GetDaemon,
    /// Set the time-outs; also the answer to [`Command::GetConfig`].
    SetConfig,
    /// Get the time-outs.
    GetConfig,
    /// The answer to [`Command::GetInfo`].
    SetInfo,
    /// Get general information.
    GetInfo,
    /// Zero the counters of a service or of all.
    Zero,
    /// Remove all services and destinations.
    Flush,
    /// A command that this crate does not know.
    Other(u8),
}

/// Every command with its number.
const COMMANDS: [(Command, u8); 17] = [
    (Command::NewService, IPVS_CMD_NEW_SERVICE),
    (Command::SetService, IPVS_CMD_SET_SERVICE),
    (Command::DelService, IPVS_CMD_DEL_SERVICE),
    (Command::GetService, IPVS_CMD_GET_SERVICE),
    (Command::NewDest, IPVS_CMD_NEW_DEST),
    (Command::SetDest, IPVS_CMD_SET_DEST),
    (Command::DelDest, IPVS_CMD_DEL_DEST),
    (Command::GetDest, IPVS_CMD_GET_DEST),
    (Command::NewDaemon, IPVS_CMD_NEW_DAEMON),
    (Command::DelDaemon, IPVS_CMD_DEL_DAEMON),
    (Command::GetDaemon, IPVS_CMD_GET_DAEMON),
    (Command::SetConfig, IPVS_CMD_SET_CONFIG),
    (Command::GetConfig, IPVS_CMD_GET_CONFIG),
    (Command::SetInfo, IPVS_CMD_SET_INFO),
    (Command::GetInfo, IPVS_CMD_GET_INFO),
    (Command::Zero, IPVS_CMD_ZERO),
    (Command::Flush, IPVS_CMD_FLUSH),
];

impl From<u8> for Command {
    fn from(number: u8) -> Self {
        let known = COMMANDS.iter().find(|(_, known)| *known == number);
        known.map_or(Command::Other(number), |(command, _)| *command)
    }
}

impl From<Command> for u8 {
    fn from(command: Command) -> Self {
        if let Command::Other(number) = command {
            return number;
        }
        let known = COMMANDS.iter().find(|(known, _)| *known == command);
        known.map_or(0, |(_, number)| *number)
    }
}

/// A message: what is meant by an attribute depends on the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is to be done, or what is answered.
    pub command: Command,
    /// Attributes of the first level (`IPVS_CMD_ATTR_…`), but for [`Command::SetInfo`].
    pub content: Content,
    /// Attributes of [`Command::SetInfo`] (`IPVS_INFO_ATTR_…`), whose numbers mean other things elsewhere.
    pub info: InfoAttributes,
    /// What else there is.
    pub other: Vec<Other>,
}

/// `IPVS_CMD_ATTR_…`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// `IPVS_CMD_ATTR_SERVICE`
    pub service: Option<ServiceAttributes>,
    /// `IPVS_CMD_ATTR_DEST`
    pub destination: Option<DestinationAttributes>,
    /// `IPVS_CMD_ATTR_DAEMON`
    pub daemon: Option<DaemonAttributes>,
    /// `IPVS_CMD_ATTR_TIMEOUT_TCP`, seconds
    pub timeout_tcp: Option<u32>,
    /// `IPVS_CMD_ATTR_TIMEOUT_TCP_FIN`, seconds
    pub timeout_tcp_fin: Option<u32>,
    /// `IPVS_CMD_ATTR_TIMEOUT_UDP`, seconds
    pub timeout_udp: Option<u32>,
}

/// `IPVS_INFO_ATTR_…`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InfoAttributes {
    /// `IPVS_INFO_ATTR_VERSION`
    pub version: Option<u32>,
    /// `IPVS_INFO_ATTR_CONN_TAB_SIZE`
    pub connection_table_size: Option<u32>,
}

impl Message {
    /// A message of a command and the attributes it takes.
    pub fn new(command: Command, content: Content) -> Self {
        Message { command, content, info: InfoAttributes::default(), other: Vec::new() }
    }

    fn read(payload: &[u8], command: Command) -> Result<Self, DecodeError> {
        let mut message = Message::new(command, Content::default());
        let Message { content, info, other, .. } = &mut message;
        attribute::read(payload, other, |kind, value| {
            match (command, kind) {
                (Command::SetInfo, IPVS_INFO_ATTR_VERSION) => info.version = Some(parse_u32(value)?),
                (Command::SetInfo, IPVS_INFO_ATTR_CONN_TAB_SIZE) => {
                    info.connection_table_size = Some(parse_u32(value)?);
                }
                (Command::SetInfo, _) => return Ok(false),
                (_, IPVS_CMD_ATTR_SERVICE) => content.service = Some(ServiceAttributes::read(value)?),
                (_, IPVS_CMD_ATTR_DEST) => {
                    content.destination = Some(DestinationAttributes::read(value)?);
                }
                (_, IPVS_CMD_ATTR_DAEMON) => content.daemon = Some(DaemonAttributes::read(value)?),
                (_, IPVS_CMD_ATTR_TIMEOUT_TCP) => content.timeout_tcp = Some(parse_u32(value)?),
                (_, IPVS_CMD_ATTR_TIMEOUT_TCP_FIN) => {
                    content.timeout_tcp_fin = Some(parse_u32(value)?);
                }
                (_, IPVS_CMD_ATTR_TIMEOUT_UDP) => content.timeout_udp = Some(parse_u32(value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(message)
    }
}

impl Attributes for Message {
    fn write(&self, sink: &mut impl Sink) {
        let Message { command, content, info, other } = self;
        if *command == Command::SetInfo {
            info.version.inspect(|value| sink.put_u32(IPVS_INFO_ATTR_VERSION, *value));
            let size = info.connection_table_size;
            size.inspect(|value| sink.put_u32(IPVS_INFO_ATTR_CONN_TAB_SIZE, *value));
        } else {
            if let Some(service) = &content.service {
                sink.nest(IPVS_CMD_ATTR_SERVICE, service);
            }
            if let Some(destination) = &content.destination {
                sink.nest(IPVS_CMD_ATTR_DEST, destination);
            }
            if let Some(daemon) = &content.daemon {
                sink.nest(IPVS_CMD_ATTR_DAEMON, daemon);
            }
            content.timeout_tcp.inspect(|value| sink.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP, *value));
            let fin = content.timeout_tcp_fin;
            fin.inspect(|value| sink.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, *value));
            content.timeout_udp.inspect(|value| sink.put_u32(IPVS_CMD_ATTR_TIMEOUT_UDP, *value));
        }
        sink.put_others(other);
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        IPVS_GENL_NAME
    }

    fn command(&self) -> u8 {
        self.command.into()
    }

    fn version(&self) -> u8 {
        IPVS_GENL_VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        attribute::length(self)
    }

    fn emit(&self, buffer: &mut [u8]) {
        attribute::emit(self, buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Message::read(payload, header.cmd.into())
    }
}
