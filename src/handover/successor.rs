// SPDX-License-Identifier: Apache-2.0
//! The process that is to go on: this program, as it is on disk now, with the same arguments and environment.

use std::{
    env,
    io::{self, ErrorKind},
    os::unix::net::UnixStream as Blocking,
    process::{self, Child, Command, ExitStatus},
    time::Duration,
};

use sd_notify::NotifyState;
use slb_proxy::Proxy;
use tokio::{net::UnixStream, task::spawn_blocking, time::timeout};
use tracing::{error, info, warn};

use super::{Estate, Inheritance, channel, predecessor::VARIABLE};
use crate::{
    run::{Fatal, notify},
    signals::{Asked, Signals},
};

/// How long it may take to be ready. A start takes well under a second, with thousands of load-balancers on a small machine some.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no successor.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot hand over the listeners")]
    Give(#[source] io::Error),
    #[error("cannot start {program}")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("the new process ended before it was ready ({0}); what it said says why")]
    Ended(ExitStatus),
    #[error("the new process was not ready within {} s, and was killed", READY_WITHIN.as_secs())]
    Late,
    #[error("the new process cannot be spoken to")]
    Channel(#[source] io::Error),
}

/// Starts a successor and hands over to it; ends when all that this process relays is over. What there was to hand over comes back if
/// there is no successor, which has been logged.
///
/// # Errors
/// The successor ended badly while this process was still relaying: the service is down, and whoever supervises it has to know.
pub async fn to_successor(mut estate: Estate, signals: &mut Signals) -> Result<Option<Inheritance>, Fatal> {
    let installed = tokio::select! {
        // Cancel-safe, both: a successor that is dropped is killed, and a signal has been logged.
        installed = install(&mut estate) => installed,
        () = stop(signals, "a successor is being started already") => return Ok(None),
    };
    match installed {
        Ok(successor) => retire(estate, successor, signals).await.map(|()| None),
        Err(failed) => {
            error!(error = %slb_core::errors::Chain(&failed), "nothing is handed over, this server goes on");
            Ok(Some(estate.into()))
        }
    }
}

/// Refuses to hand over, for that reason, until it is asked to stop.
async fn stop(signals: &mut Signals, refusal: &str) {
    while signals.next().await == Asked::HandOver {
        warn!("SIGUSR2 has no effect: {refusal}");
    }
    info!("stopping; connections of this process end now");
}

/// Once it goes on, and this process takes nobody any more.
async fn install(estate: &mut Estate) -> Result<Child, Failed> {
    let (mut successor, channel) = Successor::start()?;
    let ready = async {
        channel::give(&channel, &estate.descriptors()).await.map_err(Failed::Give)?;
        channel::hear(&channel).await.map_err(Failed::Channel)
    };
    match timeout(READY_WITHIN, ready).await {
        Ok(Ok(())) => {}
        Ok(Err(failed)) => return Err(successor.end(failed)),
        Err(_elapsed) => return Err(Failed::Late),
    }
    if let Some(proxy) = &mut estate.proxy {
        proxy.shut().await;
    }
    notify(&[NotifyState::MainPid(successor.id())]);
    match channel::say(&channel).await {
        Ok(()) => successor.release(),
        Err(error) => {
            notify(&[NotifyState::MainPid(process::id())]);
            if let Some(proxy) = &mut estate.proxy {
                proxy.open();
            }
            Err(successor.end(Failed::Channel(error)))
        }
    }
}

/// Killed when it is dropped, for it was not ready then.
struct Successor {
    /// `None` once it was ready, or has ended.
    child: Option<Child>,
}

impl Successor {
    fn start() -> Result<(Self, UnixStream), Failed> {
        let (here, there) = Blocking::pair().map_err(Failed::Channel)?;
        here.set_nonblocking(true).map_err(Failed::Channel)?;
        let here = UnixStream::from_std(here).map_err(Failed::Channel)?;
        let mut arguments = env::args_os();
        // As it was called, so that a link to another version, or a new program at the same place, counts.
        let program = arguments.next().unwrap_or_default();
        let mut command = Command::new(&program);
        // The watchdog is for whoever is the main process.
        command.args(arguments).env(VARIABLE, process::id().to_string()).env_remove("WATCHDOG_PID");
        let child = command.stdin(std::os::fd::OwnedFd::from(there)).spawn();
        let child =
            child.map_err(|source| Failed::Start { program: program.to_string_lossy().into_owned(), source })?;
        info!(process = child.id(), "started a successor");
        Ok((Self { child: Some(child) }, here))
    }

    fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Where its end of the channel is closed, it has ended, and how says more.
    fn end(&mut self, failed: Failed) -> Failed {
        match (self.kill(), failed) {
            (Some(Ok(status)), Failed::Give(error) | Failed::Channel(error)) if is_closed(&error) => {
                Failed::Ended(status)
            }
            (_, failed) => failed,
        }
    }

    fn kill(&mut self) -> Option<io::Result<ExitStatus>> {
        let mut child = self.child.take()?;
        // One that is ending already does so with its own status.
        Some(child.kill().and_then(|()| child.wait()))
    }

    /// It goes on by itself.
    fn release(mut self) -> Result<Child, Failed> {
        self.child.take().ok_or_else(|| Failed::Channel(ErrorKind::NotConnected.into()))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // It holds what this process is to go on with.
        drop(self.kill());
    }
}

fn is_closed(channel: &io::Error) -> bool {
    matches!(channel.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// What is relayed goes on, until it is over or this process is told to stop.
async fn retire(estate: Estate, mut successor: Child, signals: &mut Signals) -> Result<(), Fatal> {
    let id = successor.id();
    info!(process = id, "a successor has taken over; connections of this process go on until they end");
    let Estate { api, alone, proxy } = estate;
    drop((api, alone));
    let over = async {
        if let Some(proxy) = proxy {
            Proxy::retire(proxy).await;
        }
    };
    let crashed = async {
        match spawn_blocking(move || successor.wait()).await {
            Ok(Ok(status)) if !status.success() && env::var_os("NOTIFY_SOCKET").is_some() => status,
            // It was asked to stop, has a successor itself, or nobody would start another one.
            _ => std::future::pending().await,
        }
    };
    let refusal = format!("process {id} has taken over, and takes it");
    tokio::select! {
        // Cancel-safe, all: nothing is used any more.
        () = over => info!("all connections of this process are over"),
        () = stop(signals, &refusal) => {}
        status = crashed => {
            notify(&[NotifyState::MainPid(process::id())]);
            return Err(Fatal::Successor(status));
        }
    }
    Ok(())
}
