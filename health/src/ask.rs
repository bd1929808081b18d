// SPDX-License-Identifier: Apache-2.0
//! Asks a backend once.
//!
//! Whatever is asked ends with the time it has: the question's future is dropped, and with it goes all it holds. Questions that are rare or
//! large are boxed, so that a check of TCP or HTTP does not take their room.

mod connection;
mod dns;
mod exec;
mod grpc;
mod http;
mod icmp;
mod tls;
mod udp;

use std::{net::SocketAddr, time::Instant};

use slb_core::{
    checker::Watch,
    model::check::{Check, HttpQuestion, Question, Tls},
    peer::PeerAddress,
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout_at};
use tokio_rustls::client::TlsStream;

use self::tls::Trust;
use crate::{Commands, failure::Failure};

/// What questions share.
#[derive(Debug)]
pub(crate) struct Asker {
    trust: Trust,
    /// `None`: no commands.
    commands: Option<Semaphore>,
}

impl Asker {
    pub(crate) fn new(commands: Commands) -> Self {
        let commands = match commands {
            Commands::Refused => None,
            Commands::Allowed => Some(Semaphore::new(exec::AT_A_TIME)),
        };
        Self { trust: Trust::default(), commands }
    }

    /// Asks, and takes no longer than it may from `begun` on.
    pub(crate) async fn ask(&self, watch: &Watch, begun: Instant) -> Result<(), Failure> {
        let check = &*watch.check;
        let to = watch.asked();
        let time = check.timing.timeout();
        match timeout_at((begun + time).into(), self.question(check, to)).await {
            Ok(answer) => answer,
            Err(_) if silence_is_fine(&check.question) => Ok(()),
            Err(_) => Err(Failure::Silence(time)),
        }
    }

    async fn question(&self, check: &Check, to: SocketAddr) -> Result<(), Failure> {
        let source = check.source.map(PeerAddress::address);
        match &check.question {
            Question::Tcp => connection::open(to, source).await.map(drop),
            Question::Http(question) => match &question.tls {
                None => http::ask(question, to, connection::open(to, source).await?).await,
                Some(tls) => Box::pin(self.https(question, tls, check, to)).await,
            },
            Question::Udp(question) => Box::pin(udp::ask(question, to, source)).await,
            Question::Icmp => Box::pin(icmp::ask(to.ip(), source)).await,
            Question::Dns(question) => Box::pin(dns::ask(question, to, source)).await,
            Question::Grpc(question) => match &question.tls {
                None => Box::pin(grpc::ask(question, to, connection::open(to, source).await?)).await,
                Some(tls) => {
                    let connection = Box::pin(self.tls(tls, check, to, tls::Speaks::Http2)).await?;
                    Box::pin(grpc::ask(question, to, connection)).await
                }
            },
            Question::Exec(command) => match &self.commands {
                Some(slots) => Box::pin(exec::ask(command, to, slots)).await,
                None => Err(Failure::Forbidden),
            },
        }
    }

    async fn https(&self, question: &HttpQuestion, tls: &Tls, check: &Check, to: SocketAddr) -> Result<(), Failure> {
        http::ask(question, to, self.tls(tls, check, to, tls::Speaks::Http1).await?).await
    }

    async fn tls(
        &self,
        tls: &Tls,
        check: &Check,
        to: SocketAddr,
        speaks: tls::Speaks,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let connection = connection::open(to, check.source.map(PeerAddress::address)).await?;
        self.trust.handshake(tls, to.ip(), speaks, connection).await
    }
}

fn silence_is_fine(question: &Question) -> bool {
    matches!(question, Question::Udp(question) if question.expect.is_none())
}
