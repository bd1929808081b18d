// SPDX-License-Identifier: Apache-2.0
//! What the log tells of requests. Alone in its process, since what is logged is decided for a whole process.

#[path = "api/memory.rs"]
mod memory;

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{body::Body, http::Request};
use slb_core::command::Failure;
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The original printed bodies of requests; and its log told nothing of failures that could be matched to a request.
#[tokio::test]
async fn defect_10_the_log_has_the_request_and_not_its_body() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    subscriber.with_writer(lines.clone()).init();
    let (mailbox, board, faults) = memory::start(Ipv4Addr::new(192, 0, 2, 1), 4);
    let router = slb_api::router(mailbox, board, slb_api::Options::default());
    let create = async |id: &str| {
        let request = Request::post("/loadbalancer").header("x-request-id", id);
        let request = request.body(Body::from(r#"{"port":80,"name":"secret"}"#)).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    assert_eq!(create("first").await.status(), 201);
    faults.lock().unwrap().push_back(Failure::Store(Box::new(io::Error::from_raw_os_error(5))));
    assert_eq!(create("second").await.status(), 503);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = |id: &str| log.lines().find(|line| line.contains(&format!("request={id}"))).unwrap_or_default();
    assert!(line("first").contains("DEBUG") && line("first").contains("status=201"), "{log}");
    assert!(line("second").contains("WARN") && line("second").contains("Input/output error"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
