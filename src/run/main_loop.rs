// SPDX-License-Identifier: Apache-2.0
//! The server's main loop: whatever happens, the controller hears of it here.
//!
//! ```text
//!  api (a task) ──▶ mailbox ─┐
//!  addresses, probes ────────┤
//!  host monitor ─────────────┼──▶ main loop ──▶ controller ──▶ drivers
//!  deadline ─────────────────┤
//!  edits of the file (a task) ┤
//!  SIGTERM ──▶ api stops ────┘   and the loop ends when the last request is answered; the data plane stays
//!  SIGUSR2 ──▶ the same, and a successor goes on (handover)
//! ```

use std::{
    net,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt};
use sd_notify::NotifyState;
use slb_api::DataplaneName;
use slb_core::{
    board::Board,
    command::{Mailbox, mailbox},
    controller::Controller,
    errors::Chain,
    ports::HostEvent,
};
use slb_host::Monitor;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, sleep_until},
};
use tracing::{error, info, warn};

use super::{Fatal, Linuxes, notify};
use crate::{
    advertiser::Begin,
    alone::Alone,
    dataplane::Plane,
    file::follow::Follower,
    handover::{self, Estate, Predecessor},
    signals::{Asked, Signals},
    watchdog::Watchdog,
};

/// At most this many requests are taken from the mailbox into one round, so that events are not kept waiting.
const BATCH: usize = 512;
/// How long to wait before listening to the host again after listening failed.
const MONITOR_RETRY: Duration = Duration::from_secs(1);
/// systemd is told that the server has started after this long even if what the file says is still being carried out: a provider may take
/// minutes to give an address, and systemd gives up after 90 s.
const FILE_PATIENCE: Duration = Duration::from_secs(30);

/// What the loop needs.
pub(super) struct Server {
    pub(super) controller: Controller<Linuxes>,
    pub(super) monitor: Monitor,
    pub(super) adapter: String,
    pub(super) follower: Option<Follower>,
    pub(super) alone: Option<Alone>,
    pub(super) predecessor: Option<Predecessor>,
}

impl Server {
    /// Goes on until it is told to stop; `Some` if somebody goes on for it.
    ///
    /// # Errors
    /// The API, or who was there before, ended in a way that nobody asked for.
    pub(super) async fn run(
        mut self,
        listener: net::TcpListener,
        board: Arc<Board>,
        begin: Begin,
        signals: &mut Signals,
        options: slb_api::Options,
    ) -> Result<Option<Estate>, Fatal> {
        let (mailbox, mut requests) = mailbox();
        let (stop, stopped) = oneshot::channel();
        let (open, opened) = oneshot::channel();
        let (settle, mut settled) = oneshot::channel();
        let mut is_settled = false;
        let stopping = match options.dataplane {
            DataplaneName::Ipvs => "stopping; load-balancers stay as they are, `slb cleanup` takes them away",
            DataplaneName::User => "stopping; load-balancers come back with the next start, connections end now",
        };
        let own = listener.try_clone().and_then(TcpListener::from_std).map_err(Fatal::Api)?;
        // For a successor; who comes when there is to be none is refused at once.
        let mut to_hand_over = Some(listener);
        let mut api = serve_api(own, mailbox.clone(), Arc::clone(&board), opened, stopped, options);
        // Requests wait for the moment of the handover, if there is one.
        let open = self.predecessor.is_some().then_some(open);
        if let Some(follower) = &self.follower {
            self.controller.expect_declarations();
            board.post_file(follower.report());
        }
        self.controller.reconcile(Instant::now()).await;
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.take_over().await.map_err(Fatal::Inheritance)?;
        }
        drop(open);
        if let Plane::User(relays) = self.controller.dataplane() {
            relays.proxy.open();
        }
        begin.begin();
        if let Some(follower) = self.follower.take() {
            // It ends with the mailbox, or with the runtime.
            tokio::spawn(follower.follow(mailbox, board, settle));
        } else {
            drop(settle);
        }
        let mut patience = Some(Instant::now() + FILE_PATIENCE);
        let mut stop = Some(stop);
        let mut watchdog = Watchdog::asked_for();
        loop {
            let deadline = self.controller.next_deadline();
            tokio::select! {
                // Cancel-safe: a request stays in the channel until it is returned.
                Some(request) = requests.next() => {
                    let mut batch = vec![request];
                    while batch.len() < BATCH && let Some(Some(request)) = requests.next().now_or_never() {
                        batch.push(request);
                    }
                    self.controller.handle(batch, Instant::now()).await;
                }
                // Cancel-safe: inquiries stay with the controller.
                learned = self.controller.next_learned() => self.controller.learned(learned, Instant::now()).await,
                // Cancel-safe: says so itself.
                event = self.monitor.next() => self.host_changed(event).await,
                // Cancel-safe: made anew from the deadline each time.
                () = sleep_until(deadline.into()) => self.controller.tick(Instant::now()).await,
                // Cancel-safe: says so itself.
                () = watchdog.say() => {}
                // Cancel-safe: polled on by reference.
                _ = &mut settled, if !is_settled => {
                    (is_settled, patience) = (true, None);
                    self.close_unclaimed();
                    notify(&[NotifyState::Ready]);
                }
                // Cancel-safe: made anew from the moment each time. A timer that is kept would wake up whoever has no file, too.
                () = sleep_until(patience.unwrap_or_else(Instant::now).into()), if patience.is_some() => {
                    patience = None;
                    notify(&[NotifyState::Ready]);
                }
                // Cancel-safe: says so itself.
                asked = signals.next(), if stop.is_some() => match asked {
                    Asked::Stop => {
                        info!("{stopping}");
                        notify(&[NotifyState::Stopping]);
                        to_hand_over = None;
                        stop = None;
                    }
                    Asked::HandOver if handover::is_possible() => {
                        info!("handing over to a successor; requests to the API wait for it");
                        stop = None;
                    }
                    Asked::HandOver => {}
                },
                // Cancel-safe: a task goes on when its handle is not polled.
                ended = &mut api => {
                    ended.map_err(|panic| Fatal::Api(panic.into()))?;
                    return Ok(to_hand_over.map(|listener| self.leave(listener)));
                }
            }
        }
    }

    /// All but what is to be handed over ends.
    fn leave(self, api: net::TcpListener) -> Estate {
        let proxy = match self.controller.into_dataplane() {
            Plane::User(relays) => Some(relays.proxy),
            Plane::Ipvs(_) => None,
        };
        Estate { api, alone: self.alone, proxy }
    }

    /// All that the store and the file have is there.
    fn close_unclaimed(&mut self) {
        if let Plane::User(relays) = self.controller.dataplane() {
            relays.proxy.close_unclaimed().into_iter().for_each(handover::tell_unclaimed);
        }
    }

    /// Takes all events that are there, so that a flush of many addresses is repaired in one go.
    async fn host_changed(&mut self, first: Result<HostEvent, slb_host::Error>) {
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Ok(event) => events.push(event),
                Err(error) => {
                    warn!(error = %Chain(&error), "cannot hear of changes on the host; listening anew");
                    events.push(HostEvent::Overrun);
                    self.listen_anew().await;
                    break;
                }
            }
            next = self.monitor.next().now_or_never();
        }
        self.controller.host_changed(&events, Instant::now()).await;
    }

    async fn listen_anew(&mut self) {
        match Monitor::open(&self.adapter).await {
            Ok(monitor) => self.monitor = monitor,
            Err(error) => {
                error!(error = %Chain(&error), "still cannot");
                sleep(MONITOR_RETRY).await;
            }
        }
    }
}

fn serve_api(
    listener: TcpListener,
    mailbox: Mailbox,
    board: Arc<Board>,
    opened: oneshot::Receiver<()>,
    stopped: oneshot::Receiver<()>,
    options: slb_api::Options,
) -> JoinHandle<()> {
    let journal = Arc::clone(board.journal());
    let router = slb_api::router(mailbox, board, options);
    tokio::spawn(async move {
        // Senders that are gone open and stop the API as well as those that say so.
        drop(opened.await);
        let stopped = async move {
            drop(stopped.await);
            // Whoever follows what happens would follow for ever.
            journal.close();
        };
        slb_api::serve(listener, router, stopped).await;
    })
}
