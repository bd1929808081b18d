// SPDX-License-Identifier: Apache-2.0
//! Reads what IPVS counts. The kernel gives it out service by service, which takes a while with many: all who ask at a time
//! share one look at everything, and a look serves for [`FRESH`].

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use ipvs::{Client, Error, ObservedDestination, Stats};
use slb_core::{
    errors,
    ports::Cause,
    statistics::{Answer, BackendCount, Connections, Counters, Counts, Reading, ServiceCount, Statistics},
};

use crate::translate;

/// How long a reading is good enough. The kernel estimates rates every two seconds.
const FRESH: Duration = Duration::from_secs(1);

/// Counts of the network namespace that it is asked in, on a connection of its own. Within a tokio runtime.
#[derive(Debug, Default)]
pub struct Meter {
    last: Mutex<Option<Look>>,
}

#[derive(Clone, Debug)]
struct Look {
    begun: Instant,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl Look {
    /// Goes on even if nobody waits for it any more: what is found half-way must not be what the next one hears.
    fn begin() -> Self {
        let shared = |cause: Cause| errors::Shared::from(cause);
        let looking = tokio::spawn(look()).map(move |ended| match ended {
            Ok(found) => found.map(Arc::new).map_err(|error| shared(error.into())),
            Err(cut_off) => Err(shared(cut_off.into())),
        });
        Self { begun: Instant::now(), answer: looking.boxed().shared() }
    }

    /// Whether it may be shared: it is under way, or has gone well not long ago.
    fn serves(&self) -> bool {
        self.answer.peek().is_none_or(|answer| answer.is_ok() && self.begun.elapsed() < FRESH)
    }
}

impl Statistics for Meter {
    fn read(&self) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let look = last.take().filter(Look::serves).unwrap_or_else(Look::begin);
        Box::pin(last.insert(look).answer.clone())
    }
}

async fn look() -> Result<Reading, Error> {
    let at = SystemTime::now();
    let mut services = BTreeMap::new();
    let mut client = Client::open().await?;
    client
        .each(|service, destinations| {
            if let Some(key) = translate::key(service.id()) {
                let backend =
                    |observed: &ObservedDestination| Some((translate::target(observed.id())?, count(observed)));
                let backends = destinations.iter().filter_map(backend).collect();
                services.insert(key, ServiceCount { traffic: counters(&service.stats), backends });
            }
        })
        .await?;
    Ok(Reading { at, services })
}

fn count(observed: &ObservedDestination) -> BackendCount {
    BackendCount { traffic: counters(&observed.stats), connections: connections(observed) }
}

/// The connections that there are.
pub fn connections(observed: &ObservedDestination) -> Connections {
    Connections {
        active: observed.active_connections,
        inactive: observed.inactive_connections,
        persistent: observed.persistent_connections,
    }
}

fn counters(stats: &Stats) -> Counters {
    Counters {
        total: Counts {
            connections: stats.connections,
            packets_in: stats.in_packets,
            packets_out: stats.out_packets,
            bytes_in: stats.in_bytes,
            bytes_out: stats.out_bytes,
        },
        rate: Counts {
            connections: stats.connection_rate,
            packets_in: stats.in_packet_rate,
            packets_out: stats.out_packet_rate,
            bytes_in: stats.in_byte_rate,
            bytes_out: stats.out_byte_rate,
        },
    }
}
