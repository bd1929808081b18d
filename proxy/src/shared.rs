// SPDX-License-Identifier: Apache-2.0
//! UDP sockets that the process before this one has open as well, for its last answers. As long as it has, nobody can bind their endpoints
//! anew, so this process keeps them also without a service, for one that may come.

use std::{collections::BTreeSet, os::fd::BorrowedFd, time::Duration};

use slb_core::model::{Endpoint, Protocol, VirtualService};
use socket2::Socket;
use tokio::time::Instant;

use crate::inherited::Inherited;

/// What is shared, and since when it is not.
#[derive(Debug, Default)]
pub struct Shared {
    endpoints: BTreeSet<Endpoint>,
    /// Of services that have gone meanwhile.
    kept: Inherited,
    /// Not before the other process stops taking clients.
    until: Option<Instant>,
}

impl Shared {
    /// Takes note of the endpoint of inherited sockets.
    pub fn note(&mut self, endpoint: Endpoint, sockets: Vec<Socket>) -> Vec<Socket> {
        if endpoint.protocol == Protocol::Udp {
            self.endpoints.insert(endpoint);
        }
        sockets
    }

    /// The other process has stopped taking clients, and closes them after so long.
    pub fn ends_after(&mut self, time: Duration) {
        self.until.get_or_insert_with(|| Instant::now() + time);
    }

    /// Keeps the sockets of a service that goes, while they are shared.
    pub fn keep<'a>(&mut self, service: VirtualService, sockets: impl Iterator<Item = BorrowedFd<'a>>) {
        self.close_if_over();
        let VirtualService::Endpoint(endpoint) = service else { return };
        if self.endpoints.contains(&endpoint) {
            let again = sockets.filter_map(|socket| socket.try_clone_to_owned().ok());
            self.kept.keep(endpoint, again.map(Socket::from));
        }
    }

    /// Whether there are any for the endpoint.
    pub fn has(&self, endpoint: Endpoint) -> bool {
        self.kept.has(endpoint)
    }

    /// All that there are for the endpoint.
    pub fn take(&mut self, endpoint: Endpoint) -> Vec<Socket> {
        self.kept.take(endpoint)
    }

    /// Closes what nobody has come for, once nobody else has it.
    pub fn close_if_over(&mut self) {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            *self = Self { until: self.until, ..Self::default() };
        }
    }
}
