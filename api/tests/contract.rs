// SPDX-License-Identifier: Apache-2.0
//! The API does what `openapi.yaml` says, with nothing behind it but memory: many thousands of requests, most of them wrong by one thing.
//! In a lab kernel each costs five times as much; what tests/contract.rs sends there is what may be allowed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "api/memory.rs"]
mod memory;

use std::{
    fs,
    net::Ipv4Addr,
    process::{Command, Output},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use serde_json::Value;
use slb_lab::Schemathesis;
use tokio::{net::TcpListener, sync::oneshot, task::spawn_blocking};
use tower::ServiceExt;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis.toml");
const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.yaml");
/// Names a load-balancer and a backend of it in every path.
const KNOWN: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/known.toml");
const PHASES: [&str; 2] = ["--phases", "examples,coverage,fuzzing"];
/// What takes a body for an object that has to be there. The others are asked for objects that hardly ever are.
const CHANGES: [&str; 6] =
    ["updateLoadBalancer", "replaceLoadBalancer", "addBackend", "replaceBackends", "updateBackend", "replaceBackend"];
/// Leaves nothing of what others know.
const REPLACE_ALL: &str = "replaceLoadBalancers";

#[tokio::test]
async fn as_described() {
    let (mailbox, board, _faults) = memory::start(Ipv4Addr::new(10, 0, 0, 1), 65_536);
    board.post_ready();
    let router = slb_api::router(mailbox, board, slb_api::Options::default());
    let load_balancer = create(&router, "/loadbalancer", r#"{"port":80}"#).await;
    let backends = format!("/loadbalancer/{load_balancer}/backend");
    let backend = create(&router, &backends, r#"{"ip":"192.168.0.11","port":80}"#).await;
    let config = fs::read_to_string(CONFIG).unwrap();
    fs::write(KNOWN, format!("{config}uuid = '{load_balancer}'\nbackenduuid = '{backend}'\n")).unwrap();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let asked = spawn_blocking(move || {
        let drive = |config, only: &'static str, operations: &[&'static str]| {
            let what: Vec<&str> = operations.iter().flat_map(|operation| [only, operation]).chain(PHASES).collect();
            Schemathesis { config, description: DESCRIPTION, url: &url }.drive(&what, run);
        };
        drive(CONFIG, "--exclude-operation-id", &[&CHANGES[..], &[REPLACE_ALL]].concat());
        drive(KNOWN, "--include-operation-id", &CHANGES);
        drive(CONFIG, "--include-operation-id", &[REPLACE_ALL]);
        stop.send(()).unwrap();
    });
    slb_api::serve(listener, router, async { drop(stopped.await) }).await;
    asked.await.unwrap();
}

/// Returns the uuid of what was made.
async fn create(router: &Router, path: &str, body: &'static str) -> String {
    let response = router.clone().oneshot(Request::post(path).body(Body::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 201);
    let object: Value = serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
    object["uuid"].as_str().unwrap().to_owned()
}

/// In a folder for what it leaves behind.
fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).current_dir(env!("CARGO_TARGET_TMPDIR")).output().unwrap()
}
