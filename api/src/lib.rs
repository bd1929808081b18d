// SPDX-License-Identifier: Apache-2.0
//! The REST API: HTTP in, commands to the controller's mailbox, answers and problem details out.
//!
//! ```text
//!  serve ──▶ exchange (id, span, guard, log) ──▶ routes ──▶ loadbalancers, backends ──▶ Mailbox   changes
//!                       ▲                                        │     └─────────────▶ Board     reads
//!                       └── problem ◀── failure ◀────────────────┘
//! ```
//! Reading order: [`routes`] has the table of everything there is; `loadbalancers` and `backends` are the handlers, `bulk` is many load-balancers in one change, `bgp`
//! shows routers, `drain` takes things out gently, `shutdown` asks them for other ways, `statistics` is what the kernel counts, `file` how the configuration file is doing, `events` tells what happens, `health` is for those that know of neither; `wire`, `observed`,
//! `peer` and `check` are what bodies look like, read by `extract` from `json` through `fields` and `read`, and [`declaration`]
//! what the configuration file looks like, read through the same;
//! `terms` is what is said of a change beside its body, `expected` what is taken for granted there, `key` what it is called by who may ask again, and `plan` what is shown when nothing is to be done; [`problem`] is every way to say no, and `failure` how the core's errors get there; `exchange` is around all of it, with
//! `guard` against web pages of other sites; [`serve`](fn@serve) is the server.
//!
//! The wire contract is the original's, with these differences: a creation answers 201 with the object and its place, a
//! deletion 204, and whatever is wrong is said instead of swallowed. `openapi.yaml` describes all of it.
//!
//! Deliberately absent: state of its own. A change is answered when the controller says so; reads never wait for it.

mod backends;
mod bgp;
mod bulk;
mod check;
pub mod declaration;
mod drain;
mod events;
mod exchange;
mod expected;
mod extract;
mod failure;
mod fields;
mod file;
mod guard;
mod health;
mod json;
mod key;
mod loadbalancers;
mod observed;
mod peer;
mod pieces;
mod plan;
pub mod problem;
mod query;
mod read;
mod reply;
pub mod routes;
mod serve;
mod shutdown;
mod statistics;
mod terms;
mod wire;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state};
use slb_core::{board::Board, command::Mailbox};
use tokio::sync::Semaphore;

pub use serve::serve;

/// What balances, as the API calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DataplaneName {
    /// The kernel's IPVS.
    #[default]
    Ipvs,
    /// This process.
    User,
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Host names that web pages of this server's own may call it by, beside IP addresses and `localhost`. Programs other than
    /// browsers may use any.
    pub names: Vec<String>,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// Whether health checks may run commands on this host.
    pub commands: bool,
    /// What balances.
    pub dataplane: DataplaneName,
}

impl Default for Options {
    /// No names, no commands, IPVS; half a minute, which is a megabyte at 300 kbit/s.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            body_timeout: Duration::from_secs(30),
            commands: false,
            dataplane: DataplaneName::Ipvs,
        }
    }
}

/// What handlers work with.
#[derive(Clone)]
struct Api {
    mailbox: Mailbox,
    board: Arc<Board>,
    options: Arc<Options>,
    /// Places for those who follow events.
    streams: Arc<Semaphore>,
}

/// Every route, with everything around it. Changes go to the mailbox, reads to the board.
pub fn router(mailbox: Mailbox, board: Arc<Board>, options: Options) -> Router {
    let options = Arc::new(options);
    let around = from_fn_with_state(Arc::clone(&options), exchange::exchange);
    routes::router().layer(around).with_state(Api {
        mailbox,
        board,
        options,
        streams: Arc::new(Semaphore::new(events::STREAMS)),
    })
}
