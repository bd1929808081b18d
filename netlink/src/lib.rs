// SPDX-License-Identifier: Apache-2.0
//! Netlink requests packed many to a send, errors mapped back to the request that failed, dumps streamed.
//!
//! The codecs are those of the rust-netlink family: anything that implements `NetlinkSerializable` and
//! `NetlinkDeserializable` can be sent over a [`Socket`] of the protocol it belongs to.
//!
//! ```text
//!  transact        request request request barrier ──▶ kernel    many to a send; only errors are answered, and the
//!                  error(2) answered(barrier)      ◀──           answer to the barrier says that all of them were handled
//!  transact_atomic begin request request end       ──▶ kernel    one send, flags as given (nf_tables batches)
//!  request         request barrier                 ──▶ kernel    one object
//!  dump            request+DUMP                    ──▶ kernel    a list, handed over piece by piece
//!  Monitor         (groups)                        ◀──           what changes, or "you missed something"
//! ```
//!
//! The rooms, in the order to read: [`Request`] is what is sent; `pack` lays requests end to end; `reply` takes
//! datagrams apart; [`Socket`] opens, sends and receives; `transact`, `query` and [`Monitor`] are the conversations.
//!
//! # What can be relied on
//! - **One verdict for each request.** The kernel handles the requests of one `sendmsg` in order, and answers inside
//!   that call (`netlink_rcv_skb` in `net/netlink/af_netlink.c`). A pack is kept so small that an error answer to each
//!   of its requests fits into the receive buffer; should answers be lost all the same, that is [`Error::Overrun`].
//! - **A future may be dropped.** The next operation reads away what the dropped one left behind, and answers are told
//!   apart by sequence number. What had been sent was executed, as with any interrupted write.
//! - **Nothing waits for ever.** A missing answer is [`Error::Timeout`].
//! - **Nothing is cut off silently.** A datagram that did not fit is [`Error::Truncated`].

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

mod error;
mod monitor;
mod pack;
mod query;
mod reply;
mod request;
mod socket;
mod transact;

pub use error::{Error, KernelError};
pub use monitor::{Event, Monitor};
pub use request::Request;
pub use socket::{DEFAULT_TIMEOUT, Socket};

/// The protocol numbers of `linux/netlink.h`, as [`Socket::open`] and [`Monitor::open`] take them.
pub mod protocols {
    pub use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
}
