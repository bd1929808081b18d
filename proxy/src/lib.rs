// SPDX-License-Identifier: Apache-2.0
//! A data plane in user space, for hosts without IPVS or without root.
//!
//! ```text
//!  controller ──▶ Proxy ──▶ service ◀── balance      who gets a connection
//!                   │          ▲
//!                   └─▶ workers: udp, tcp ──▶ relay ──▶ pipe      a thread for each core, with a socket of its own for each endpoint
//! ```
//! `balance` decides who gets a connection, purely and as IPVS does. A `service` is what all workers share of it, with what `traffic`
//! counts. `socket` binds, an `entrance` is what workers take clients from, `inherited` sockets are of the process before, which
//! has those that are `shared` for a moment. `tcp` accepts and connects, from where `source` says, `relay` carries bytes both ways, through a `pipe`
//! where it can; a `preface` tells backends who their clients are; `udp`
//! passes on datagrams. A `clock` knows who is silent. There is `room` for so many connections, and `sessions` of UDP make room for each
//! other. [`Proxy`] is the driver, [`Meter`] reads the counters, `unserved` says what only a kernel can do.

mod balance;
mod clock;
mod entrance;
mod inherited;
mod meter;
mod pipe;
mod preface;
mod proxy;
mod relay;
mod room;
mod service;
mod sessions;
mod shared;
mod socket;
mod source;
mod tcp;
mod traffic;
mod udp;
mod unserved;
mod workers;

pub use self::{
    inherited::Inherited,
    meter::Meter,
    proxy::{Options, Proxy},
};
