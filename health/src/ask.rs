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
mod way;

use std::{net::SocketAddr, time::Instant};

use slb_core::{
    checker::Watch,
    model::check::{HttpQuestion, Question, Tls},
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout_at};
use tokio_rustls::client::TlsStream;

use self::{tls::Trust, way::Way};
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
        let time = check.timing.timeout();
        match timeout_at((begun + time).into(), self.question(watch)).await {
            Ok(answer) => answer,
            Err(_) if silence_is_fine(&check.question) => Ok(()),
            Err(_) => Err(Failure::Silence(time)),
        }
    }

    async fn question(&self, watch: &Watch) -> Result<(), Failure> {
        let (check, to, way) = (&*watch.check, watch.asked(), Way::of(watch)?);
        match &check.question {
            Question::Tcp => connection::open(to, way).await.map(drop),
            Question::Http(question) => match &question.tls {
                None => http::ask(question, to, connection::open(to, way).await?).await,
                Some(tls) => Box::pin(self.https(question, tls, to, way)).await,
            },
            Question::Udp(question) => Box::pin(udp::ask(question, to, way)).await,
            Question::Icmp => Box::pin(icmp::ask(to.ip(), way.source)).await,
            Question::Dns(question) => Box::pin(dns::ask(question, to, way)).await,
            Question::Grpc(question) => match &question.tls {
                None => Box::pin(grpc::ask(question, to, connection::open(to, way).await?)).await,
                Some(tls) => {
                    let connection = Box::pin(self.tls(tls, to, way, tls::Speaks::Http2)).await?;
                    Box::pin(grpc::ask(question, to, connection)).await
                }
            },
            Question::Exec(command) => match &self.commands {
                Some(slots) => Box::pin(exec::ask(command, to, slots)).await,
                None => Err(Failure::Forbidden),
            },
        }
    }

    async fn https(&self, question: &HttpQuestion, tls: &Tls, to: SocketAddr, way: Way) -> Result<(), Failure> {
        http::ask(question, to, self.tls(tls, to, way, tls::Speaks::Http1).await?).await
    }

    async fn tls(
        &self,
        tls: &Tls,
        to: SocketAddr,
        way: Way,
        speaks: tls::Speaks,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let connection = connection::open(to, way).await?;
        self.trust.handshake(tls, to.ip(), speaks, connection).await
    }
}

fn silence_is_fine(question: &Question) -> bool {
    matches!(question, Question::Udp(question) if question.expect.is_none())
}
