// SPDX-License-Identifier: Apache-2.0
//! Clients of the API that keep their connections, as many as are wanted on one thread.

use std::{net::SocketAddr, time::Instant};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

/// A connection to the API.
pub struct Client {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

/// How long each of many requests took, in seconds, and all of them together; and what was answered.
pub struct Timed {
    pub each: Vec<f64>,
    pub all: f64,
    pub answers: Vec<Value>,
}

impl Client {
    pub async fn connect(api: SocketAddr) -> Self {
        let stream = TcpStream::connect(api).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), body: Vec::new() }
    }

    /// Asks, and returns the body of an answer that says yes.
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> &[u8] {
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let status = self.line().await;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line().await.to_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            is_chunked |= line.starts_with("transfer-encoding:");
            if line.is_empty() {
                break;
            }
        }
        self.body.clear();
        if is_chunked {
            while self.chunk().await {}
        } else {
            self.read(length).await;
        }
        assert!(status.contains(" 20"), "{method} {path}: {status}: {}", String::from_utf8_lossy(&self.body));
        &self.body
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn chunk(&mut self) -> bool {
        let length = usize::from_str_radix(&self.line().await, 16).unwrap();
        self.read(length).await;
        self.line().await;
        length > 0
    }

    async fn read(&mut self, length: usize) {
        let before = self.body.len();
        self.body.resize(before + length, 0);
        self.stream.read_exact(&mut self.body[before..]).await.unwrap();
    }
}

/// Has so many clients ask all of it, each the next that none has asked yet.
pub async fn ask_all(api: SocketAddr, clients: usize, requests: Vec<(&'static str, String, String)>) -> Timed {
    let mut shares: Vec<Vec<_>> = (0..clients).map(|_| Vec::new()).collect();
    requests.into_iter().enumerate().for_each(|(at, request)| shares[at % clients].push(request));
    let mut connected = Vec::new();
    for share in shares {
        connected.push((Client::connect(api).await, share));
    }
    let start = Instant::now();
    let mut asking = JoinSet::new();
    for (mut client, share) in connected {
        asking.spawn(async move {
            let mut found = Vec::new();
            for (method, path, body) in share {
                let start = Instant::now();
                let answer = serde_json::from_slice(client.ask(method, &path, &body).await).unwrap_or_default();
                found.push((start.elapsed().as_secs_f64(), answer));
            }
            found
        });
    }
    let found: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    let all = start.elapsed().as_secs_f64();
    let (each, answers) = found.into_iter().unzip();
    Timed { each, all, answers }
}
