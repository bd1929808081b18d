// SPDX-License-Identifier: Apache-2.0
//! What can go wrong on the way ([`Error`]) and what the kernel says to one request ([`KernelError`]).

use std::{fmt, io, time::Duration};

/// The kernel's refusal of one request: `NLMSG_ERROR` with a code other than zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelError {
    errno: i32,
    message: Option<Box<str>>,
}

impl KernelError {
    /// `errno` as a positive number; `message` is the text of `NLMSGERR_ATTR_MSG` if the kernel sent one.
    pub fn new(errno: i32, message: Option<&str>) -> Self {
        KernelError { errno: errno.saturating_abs(), message: message.map(Box::from) }
    }

    /// The error number, positive, as in errno(3).
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// The kernel's own explanation (`NLMSGERR_ATTR_MSG`), which few subsystems give.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// What std makes of the error number: `NotFound`, `AlreadyExists`, `PermissionDenied`, …
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.errno).kind()
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.errno))?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for KernelError {}

impl From<KernelError> for io::Error {
    fn from(error: KernelError) -> Self {
        io::Error::from_raw_os_error(error.errno)
    }
}

/// An operation that could not be carried through.
///
/// Where it says that the outcome is unknown, requests may or may not have been executed: read the state again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket could not be opened or set up.
    #[error("open a netlink socket of protocol {protocol}")]
    Open {
        /// `NETLINK_…` of linux/netlink.h.
        protocol: isize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A multicast group could not be joined.
    #[error("join netlink multicast group {group}")]
    Join {
        /// Number of the group, not its bit.
        group: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `send` failed. Nothing of this send was executed; earlier packs of the same transaction were.
    #[error("send to the kernel")]
    Send(#[source] io::Error),
    /// `recv` failed for another reason than lost answers. Outcome unknown.
    #[error("receive from the kernel")]
    Receive(#[source] io::Error),
    /// ENOBUFS: the kernel had to drop answers. Outcome unknown.
    #[error("the kernel dropped answers because the receive buffer was full")]
    Overrun,
    /// A datagram was longer than the buffer, which has grown for the next attempt. Outcome unknown.
    #[error("an answer of {length} bytes did not fit into the buffer")]
    Truncated {
        /// What the datagram would have needed.
        length: usize,
    },
    /// No answer came. Outcome unknown.
    #[error("no answer from the kernel within {after:?}")]
    Timeout {
        /// How long was waited for one datagram.
        after: Duration,
    },
    /// A request, or a sequence that must go out in one send, is longer than the socket can send.
    #[error("request {index}: {size} bytes do not fit into a send of {limit}")]
    TooLarge {
        /// Which request, counted from 0.
        index: usize,
        /// Bytes up to and including this request.
        size: usize,
        /// Bytes that can be sent at once.
        limit: usize,
    },
    /// A message from the kernel is not laid out as netlink messages are.
    #[error("malformed netlink message")]
    Malformed,
    /// A message could not be decoded by the protocol's codec.
    #[error("decode a message of type {message_type}")]
    Decode {
        /// `nlmsghdr.nlmsg_type`.
        message_type: u16,
        /// What the codec said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel refused the request.
    #[error("the kernel refused the request")]
    Refused(#[source] KernelError),
    /// The kernel acknowledged a request that asks for an object, and sent none.
    #[error("the kernel acknowledged the request without an answer")]
    NoReply,
    /// `NLM_F_DUMP_INTR`: everything was handed over, but the table changed while it was read. Dump again.
    #[error("the table changed while it was read")]
    Interrupted,
}

impl Error {
    /// The kernel's refusal, if that is what this is.
    pub fn refusal(&self) -> Option<&KernelError> {
        if let Error::Refused(error) = self { Some(error) } else { None }
    }
}
