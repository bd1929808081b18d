// SPDX-License-Identifier: Apache-2.0
//! A backend's server: sends every line back with its name before it, and remembers when it was checked.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use slb_lab::Node;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::oneshot,
};

use crate::site::on_a_runtime;

/// Much longer than the interval between two checks.
const DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// Serves until it is dropped: then the kernel closes what it had, as if it had been killed.
pub struct Web {
    checks: Arc<Mutex<Vec<Instant>>>,
    end: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Web {
    pub fn start(node: &Node, port: u16, name: &'static str) -> Self {
        let listener = node.inside(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let checks = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = oneshot::channel::<()>();
        let seen = Arc::clone(&checks);
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let accept = async {
                loop {
                    if let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(answer(stream, name, Arc::clone(&seen)));
                    }
                }
            };
            // Cancel-safe: what is not accepted any more is what is meant.
            tokio::select! { _ = ended => {}, () = accept => {} }
        };
        Self { checks, end: Some(end), server: Some(thread::spawn(|| on_a_runtime(serve))) }
    }

    /// When it was checked: connections on which nothing was said.
    pub fn checks(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next check and says when it was.
    pub fn next_check(&self) -> Instant {
        let start = Instant::now();
        loop {
            if let Some(check) = self.checks().last().filter(|check| **check > start) {
                return *check;
            }
            assert!(start.elapsed() < DEADLINE, "nobody checks");
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.end.take());
        drop(self.server.take().map(JoinHandle::join));
    }
}

/// Answers on one connection until the client closes it, or breaks off, which is the same here.
async fn answer(mut stream: TcpStream, name: &str, checks: Arc<Mutex<Vec<Instant>>>) -> std::io::Result<()> {
    let begun = Instant::now();
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::with_capacity(256, reader).lines();
    let mut said = false;
    while let Ok(Some(line)) = lines.next_line().await {
        said = true;
        writer.write_all(format!("{name} {line}\n").as_bytes()).await?;
    }
    if !said {
        checks.lock().unwrap_or_else(PoisonError::into_inner).push(begun);
    }
    Ok(())
}
