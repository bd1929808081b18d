// SPDX-License-Identifier: Apache-2.0
//! What the data plane counts, for readers. They never wait for the controller, nor it for them.

use std::{collections::BTreeMap, fmt, future::Future, iter::Sum, ops::Add, pin::Pin, sync::Arc, time::SystemTime};

use crate::{
    errors::Shared,
    model::{ServiceKey, Target},
};

/// What is counted, or why it is not known.
pub type Answer = Result<Arc<Reading>, Shared>;

/// Reads what the data plane counts.
pub trait Statistics: fmt::Debug + Send + Sync {
    /// Everything, read at once. However many ask at a time, it is read once, and a reading may be a second old.
    fn read(&self) -> Pin<Box<dyn Future<Output = Answer> + Send>>;
}

/// Everything that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was read.
    pub at: SystemTime,
    /// By service.
    pub services: BTreeMap<ServiceKey, ServiceCount>,
}

/// What is counted of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceCount {
    /// Of all its backends, also of those that are gone.
    pub traffic: Counters,
    /// By backend.
    pub backends: BTreeMap<Target, BackendCount>,
}

/// What is counted of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendCount {
    /// Since it was added.
    pub traffic: Counters,
    /// Those there are.
    pub connections: Connections,
}

/// The connections that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Established ones.
    pub active: u32,
    /// Others: those that begin or end, and what UDP has of connections.
    pub inactive: u32,
    /// Clients that are remembered.
    pub persistent: u32,
}

/// Counts since something was programmed, and how many more there are each second, as the kernel estimates every two seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// So far.
    pub total: Counts,
    /// Each second.
    pub rate: Counts,
}

/// Connections and what travelled on them. What goes to clients is counted only where it comes back through the load-balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// Adds field by field, up to the highest number that there is.
macro_rules! add {
    ($kind:ident by $add:ident: $($field:ident),*) => {
        impl Add for $kind {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($field: self.$field.$add(other.$field)),* }
            }
        }
    };
}

add!(BackendCount by add: traffic, connections);
add!(Connections by saturating_add: active, inactive, persistent);
add!(Counters by add: total, rate);
add!(Counts by saturating_add: connections, packets_in, packets_out, bytes_in, bytes_out);

impl Sum for BackendCount {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}
