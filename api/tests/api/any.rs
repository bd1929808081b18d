// SPDX-License-Identifier: Apache-2.0
//! Any request at all gets an answer that `openapi.yaml` has, and none is the server's own fault.

use axum::{
    body::Body,
    http::{HeaderValue, Request},
};
use proptest::{collection::vec, prelude::*, sample::Index, sample::select};
use slb_api::routes::ROUTES;
use tokio::runtime::Builder;

use crate::client::{Server, text};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
const HEADERS: [&str; 6] = ["host", "origin", "sec-fetch-site", "x-request-id", "content-type", "content-length"];
const VALUES: [&str; 6] =
    ["10.0.0.1:10001", "http://10.0.0.1:10001", "none", "cross-site", "application/json", "99999999999999999999"];
const BODIES: [&str; 4] = [
    r#"{"name":"web","port":80,"eip":"192.0.2.1","backends":[{"ip":"10.0.0.1","port":80,"type":"LOCAL","weight":0}]}"#,
    r#"{"ip":"10.0.0.2","port":8080,"weight":2.0}"#,
    r#"{"name":"\u00fc\n"}"#,
    r#"{"weight":7,"type":"masq"}"#,
];

/// A path that is served, or nearly so; `{known}` and `{kept}` stand for a load-balancer and a backend that there are.
fn path() -> impl Strategy<Value = String> {
    // An answer that never ends is no business of this.
    let templates: Vec<&str> = ROUTES.iter().map(|route| route.path).filter(|path| *path != "/events").collect();
    let id = |there: &'static str| prop_oneof![4 => Just(there.to_owned()), 1 => "[A-Za-z0-9._~!$&'()*+,;=:@%-]{0,40}"];
    (select(templates), id("{known}"), id("{kept}"), "(/|\\?[a-z0-9=&%/?-]{0,9})?").prop_map(
        |(template, load_balancer, backend, end)| {
            template.replace("{uuid}", &load_balancer).replace("{backenduuid}", &backend) + &end
        },
    )
}

/// More often one that takes a body.
fn method() -> impl Strategy<Value = &'static str> {
    prop_oneof![select(&METHODS[..]), select(&["POST", "PUT", "PATCH"][..])]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let value = prop_oneof![
        select(&VALUES[..]).prop_map(|value| value.as_bytes().to_vec()),
        vec(32_u8..127, 0..20),
        vec(128_u8.., 0..9)
    ];
    vec((select(&HEADERS[..]), value), 0..3)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (select(&BODIES[..]), vec((any::<Index>(), any::<u8>()), 0..3)).prop_map(|(body, changes)| {
        let mut bytes = body.as_bytes().to_vec();
        changes.into_iter().for_each(|(at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        });
        bytes
    });
    prop_oneof![4 => damaged, 1 => vec(any::<u8>(), 0..60)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_requests_are_answered_as_described(
        requests in vec((method(), path(), headers(), body()), 1..12),
    ) {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let server = Server::new();
            let (known, _) = server.create_with_backend().await;
            let kept = server.post(&format!("{known}/backend"), r#"{"ip":"10.0.0.9","port":9}"#).await.json();
            for (method, path, headers, body) in requests {
                let path = path.replace("{known}", known.rsplit('/').next().unwrap());
                let path = path.replace("{kept}", text(&kept["uuid"]));
                let mut request = Request::builder().method(method).uri(path);
                for (name, value) in headers {
                    request = request.header(name, HeaderValue::from_bytes(&value).unwrap());
                }
                // Holds the answer against the document.
                let reply = server.request(request.body(Body::from(body)).unwrap()).await;
                assert!(matches!(reply.status.as_u16(), ..500 | 503), "{method}: {} {}", reply.status, reply.body);
            }
        });
    }
}
