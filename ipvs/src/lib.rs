// SPDX-License-Identifier: Apache-2.0
//! Linux IPVS over generic netlink: every command and attribute of `linux/ip_vs.h`.
//!
//! ```no_run
//! use ipvs::{Client, Destination, Forward, Request, Service, ServiceId, scheduler};
//!
//! # async fn example() -> Result<(), ipvs::Error> {
//! let mut client = Client::open().await?;
//! let id = ServiceId::tcp([10, 0, 0, 1].into(), 80);
//! let requests = [
//!     Request::NewService(Service::new(id, scheduler::WRR)),
//!     Request::NewDestination(id, Destination::new([10, 0, 0, 7].into(), 8080, Forward::Masquerade)),
//! ];
//! for (request, verdict) in requests.iter().zip(client.batch(&requests).await?) {
//!     if let Err(refusal) = verdict {
//!         eprintln!("{request}: {refusal}");
//!     }
//! }
//! client.each(|service, destinations| println!("{} {destinations:?}", service.as_requested())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The rooms, in the order to read: [`Service`] and [`Destination`] are what is asked for, [`ObservedService`] and
//! [`ObservedDestination`] what is read back, with one law between them: what was set is read back,
//! `observed.as_requested() == &asked`. [`Request`] is a change as a value; [`Client`] executes requests and reads.
//! Below, [`wire`] has the messages as they travel: every attribute as the kernel writes it, what is unknown kept.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

mod asked;
mod attribute;
mod client;
mod daemon;
mod destination;
mod destination_attributes;
mod error;
mod family;
mod info;
mod message;
mod name;
mod request;
mod service;
mod service_attributes;
mod stats;
mod timeouts;
pub mod uapi;

pub use attribute::Other;
pub use client::Client;
pub use daemon::{Daemon, DaemonRole};
pub use destination::{Destination, DestinationId, Forward, ObservedDestination, Tunnel, TunnelKind};
pub use error::{Error, Refusal};
pub use info::{Info, Version};
pub use message::Command;
pub use name::{InvalidName, Name, scheduler};
pub use request::Request;
pub use service::{Family, Netmask, ObservedService, Persistence, Protocol, Service, ServiceFlags, ServiceId};
pub use stats::Stats;
pub use timeouts::Timeouts;

/// Messages as they travel, for those who talk to the kernel or read captures by themselves.
///
/// [`wire::Message`] is the payload of a `netlink_packet_generic::GenlMessage`.
pub mod wire {
    pub use crate::{
        daemon::DaemonAttributes,
        destination_attributes::DestinationAttributes,
        message::{Content, InfoAttributes, Message},
        service_attributes::ServiceAttributes,
    };
}
