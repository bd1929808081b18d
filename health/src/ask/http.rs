// SPDX-License-Identifier: Apache-2.0
//! Asks for a page. A check is one request on a connection of its own, so that it meets what a new client meets.

mod answer;

use std::{fmt::Write, net::SocketAddr};

use slb_core::model::check::{HttpQuestion, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use self::answer::Answer;
use crate::failure::Failure;

/// What a head usually fits into.
const USUAL: usize = 1024;

/// Asks over a connection, and reads no more of the answer than it takes.
pub(super) async fn ask(
    question: &HttpQuestion,
    to: SocketAddr,
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), Failure> {
    let request = request(question, to);
    connection.write_all(request.as_bytes()).await.map_err(Failure::to("send the request"))?;
    connection.flush().await.map_err(Failure::to("send the request"))?;
    let mut answer = Answer::to(question);
    let mut read = Vec::with_capacity(USUAL);
    loop {
        read.clear();
        match connection.read_buf(&mut read).await {
            Ok(0) => return answer.end(),
            Ok(_) => {
                if let Some(verdict) = answer.read(&read) {
                    return verdict;
                }
            }
            Err(error) => return Err(Failure::to("read the answer")(error)),
        }
    }
}

fn request(question: &HttpQuestion, to: SocketAddr) -> String {
    let mut text = String::with_capacity(USUAL / 4);
    let _ = write!(text, "{} {} HTTP/1.1\r\nHost: ", question.method.as_str(), question.path.as_str());
    let _ = match &question.host {
        Some(host) => write!(text, "{}", host.as_str()),
        None => write!(text, "{to}"),
    };
    text.push_str("\r\nConnection: close\r\n");
    if question.method == Method::Post {
        text.push_str("Content-Length: 0\r\n");
    }
    let is_set = |name: &str| question.headers.iter().any(|header| header.name().eq_ignore_ascii_case(name));
    if !is_set("user-agent") {
        text.push_str("User-Agent: slb\r\n");
    }
    if !is_set("accept") {
        text.push_str("Accept: */*\r\n");
    }
    for header in &question.headers {
        let _ = write!(text, "{}: {}\r\n", header.name(), header.value());
    }
    text.push_str("\r\n");
    text
}
