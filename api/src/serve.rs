// SPDX-License-Identifier: Apache-2.0
//! Serves the API on a listener. Bounded in every direction: how many clients there are, how long they may take to ask, to
//! listen and to stay silent, and how long a stop takes.

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    io::{self, ErrorKind},
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use slb_core::errors::Chain;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select,
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tracing::{debug, warn};

/// What clients may take.
#[derive(Clone, Copy)]
struct Limits {
    connections: usize,
    headers: Duration,
    silence: Duration,
    grace: Duration,
}

const LIMITS: Limits = Limits {
    // A client more waits in the listener's queue. Well under the usual 1024 open files, of which the data plane needs few.
    connections: 512,
    // For the headers of a request; also how long a connection is kept for a next one.
    headers: Duration::from_secs(30),
    // At a stop, for a connection on which nothing is being handled: enough for an answer that is on its way out.
    silence: Duration::from_secs(1),
    // At a stop, for all together. Probing an address and programming it takes about a second.
    grace: Duration::from_secs(10),
};
/// A client that acknowledges nothing for this long while there is something for it is gone (`TCP_USER_TIMEOUT`, tcp(7)).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// The pause after an error of the listener, such as too many open files: time for connections to end.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until `shutdown` is ready. Then nobody is let in any more, requests that have begun are answered, silent connections
/// are closed, and what has not ended after ten seconds is cut off. Errors of the listener never end it. Dropping the future cuts everything off.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    serve_within(LIMITS, listener, router, shutdown).await;
}

/// Where connections come from.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection. Cancel-safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        Ok(stream)
    }
}

async fn serve_within<A: Accept>(limits: Limits, listener: A, router: Router, shutdown: impl Future<Output = ()>) {
    let (closing, open) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        select! {
            // Cancel-safe: polled on by reference.
            () = &mut shutdown => break,
            // Cancel-safe: a task that ended stays in the set until it is returned.
            Some(_) = connections.join_next() => {}
            // Cancel-safe: says so itself.
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok(stream) => {
                    connections.spawn(connection(limits, stream, router.clone(), open.clone()));
                }
                Err(error) if is_of_one_client(&error) => debug!(%error, "a client went before it was served"),
                Err(error) => {
                    warn!(%error, "cannot accept connections to the API; trying again");
                    // Cancel-safe: nothing is lost with a pause.
                    select! { () = &mut shutdown => break, () = sleep(PAUSE) => {} }
                }
            },
        }
    }
    drop(listener);
    drop(closing);
    if timeout(limits.grace, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        warn!(connections = connections.len(), "cut off clients of the API that took too long");
    }
}

async fn connection<S>(limits: Limits, stream: S, router: Router, mut open: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handling = AtomicBool::new(false);
    let asked = Notify::new();
    let service = TowerToHyperService::new(router);
    let watched = service_fn(|request| {
        let answer = service.call(request);
        async {
            handling.store(true, Ordering::Relaxed);
            asked.notify_one();
            let answer = answer.await;
            handling.store(false, Ordering::Relaxed);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        // Whoever has sent all it wants to say still gets the answer, and what was begun is logged to its end.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), watched);
    let mut connection = pin!(connection);
    let ended = select! {
        // Cancel-safe, both: the connection is polled on by reference, and the sender stays dropped.
        ended = &mut connection => ended,
        _ = open.changed() => {
            let deadline = Instant::now() + limits.silence;
            // Who has just been let in is about to ask, and would be cut off by hyper.
            let ended_before = select! {
                // Cancel-safe, all: the connection is polled on by reference, and that something was asked is not forgotten.
                ended = &mut connection => Some(ended),
                () = asked.notified() => None,
                () = sleep_until(deadline) => None,
            };
            if let Some(ended) = ended_before {
                ended
            } else {
                connection.as_mut().graceful_shutdown();
                match timeout_at(deadline, &mut connection).await {
                    Ok(ended) => ended,
                    Err(_elapsed) if handling.load(Ordering::Relaxed) => connection.await,
                    Err(_elapsed) => Ok(()),
                }
            }
        }
    };
    if let Err(error) = ended {
        debug!(error = %Chain(&error), "a connection to the API broke");
    }
}

/// Whether the error belongs to the connection that was to be accepted, so that the next one may be fine (accept(2)).
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::InvalidInput
            | ErrorKind::Interrupted
    )
}
