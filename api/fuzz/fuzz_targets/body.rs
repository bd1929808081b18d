// SPDX-License-Identifier: Apache-2.0
//! Any bytes as the body of any request that takes one: read or refused, never a failure of the server's own.
#![no_main]

use std::sync::{Arc, LazyLock};

use axum::{Router, body::Body, http::Request};
use libfuzzer_sys::fuzz_target;
use slb_core::{board::Board, command::mailbox};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const ID: &str = "00000000-0000-4000-8000-000000000000";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());
/// Nobody reads the mailbox: a body that is read ends as 503 or 404, and everything else was refused before.
static ROUTER: LazyLock<Router> =
    LazyLock::new(|| slb_api::router(mailbox().0, Arc::new(Board::default()), slb_api::Options::default()));

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else { return };
    let (method, path) = match which % 6 {
        0 => ("POST", "/loadbalancer".to_owned()),
        1 => ("POST", format!("/loadbalancer/{ID}/backend")),
        2 => ("PUT", format!("/loadbalancer/{ID}")),
        3 => ("PATCH", format!("/loadbalancer/{ID}")),
        4 => ("PUT", format!("/loadbalancer/{ID}/backend/{ID}")),
        _ => ("PATCH", format!("/loadbalancer/{ID}/backend/{ID}")),
    };
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_vec())).unwrap();
    let status = RUNTIME.block_on(ROUTER.clone().oneshot(request)).unwrap().status().as_u16();
    assert!(matches!(status, 400 | 404 | 409 | 413 | 422 | 503), "{status}");
});
