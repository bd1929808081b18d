// SPDX-License-Identifier: Apache-2.0
//! What the original's API got wrong, one test each; and its documented calls, which work as they did.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use slb_core::{
    command::Failure,
    model::{Endpoint, Vip},
    step::{DataplaneStep, Step},
};

use crate::client::{Server, text};

/// How something is that holds since the beginning.
const IS: &str = r#"{"is":true,"since":"1970-01-01T00:00:00Z"}"#;

/// The calls of the original's documentation, verbatim: the second POST has no JSON content type (curl says it is a form).
#[tokio::test]
async fn the_documented_calls_work() {
    let server = Server::new();
    assert_eq!(server.get("/loadbalancers").await.body, "null\n");
    let post = |uri: &str, content_type: &'static str, body: &'static str| {
        let request = Request::post(uri).header("content-type", content_type).header("user-agent", "curl/8");
        request.body(Body::from(body)).unwrap()
    };
    let reply = server
        .request(post("/loadbalancer", "application/json", r#"{"name":"test loadbalancer", "port": 6443}"#))
        .await;
    assert_eq!(reply.status, 201);
    let id = text(&reply.json()["uuid"]).to_owned();
    assert_eq!(
        server.get("/loadbalancers").await.body,
        format!(
            "[{{\"uuid\":\"{id}\",\"name\":\"test loadbalancer\",\"eip\":\"192.0.2.1\",\"port\":6443,\"backends\":null,\
             \"status\":\"active\",\"eips\":[\"192.0.2.1\"],\"advertise\":\"always\",\"scheduler\":\"rr\",\"schedulerFlags\":[],\"persistence\":null,\"onePacket\":false,\"proxyProtocol\":null,\"protocol\":\"tcp\",\"sourceNat\":\"always\",\"origin\":\"api\",\
             \"observed\":{{\
             \"programmed\":{{\"is\":true,\"since\":\"1970-01-01T00:00:00Z\"}},\
             \"advertised\":{{\"is\":true,\"since\":\"1970-01-01T00:00:00Z\"}}}}}}]\n"
        )
    );
    let form = "application/x-www-form-urlencoded";
    let path = format!("/loadbalancer/{id}/backend");
    let reply = server.request(post(&path, form, r#"{"ip":"10.80.96.25", "port": 6443}"#)).await;
    assert_eq!(reply.status, 201);
    let backend = text(&reply.json()["uuid"]).to_owned();
    assert_eq!(
        server.get(&format!("/loadbalancer/{id}")).await.body,
        format!(
            "{{\"uuid\":\"{id}\",\"name\":\"test loadbalancer\",\"eip\":\"192.0.2.1\",\"port\":6443,\"backends\":[\
             {{\"uuid\":\"{backend}\",\"ip\":\"10.80.96.25\",\"port\":6443,\"type\":\"MASQ\",\"weight\":1,\
             \"upperThreshold\":0,\"lowerThreshold\":0,\
             \"observed\":{{\"programmed\":{IS},\"health\":\"unknown\"}}}}],\
             \"status\":\"active\",\"eips\":[\"192.0.2.1\"],\"advertise\":\"always\",\"scheduler\":\"rr\",\
             \"schedulerFlags\":[],\"persistence\":null,\"onePacket\":false,\"proxyProtocol\":null,\"protocol\":\"tcp\",\"sourceNat\":\"always\",\"origin\":\"api\",\
             \"observed\":{{\"programmed\":{IS},\"advertised\":{IS}}}}}\n"
        )
    );
    assert_eq!(server.send("DELETE", &format!("{path}/{backend}"), "").await.status, 204);
    assert_eq!(server.get(&format!("/loadbalancer/{id}")).await.json()["backends"], json!([]));
    assert_eq!(server.send("DELETE", &format!("/loadbalancer/{id}"), "").await.status, 204);
    assert_eq!(server.get("/loadbalancers").await.body, "[]\n");
}

#[tokio::test]
async fn defect_1_post_answers_the_object_and_its_place() {
    let server = Server::new();
    let reply = server.post("/loadbalancer", r#"{"name":"twin","port":80}"#).await;
    assert_eq!(reply.header("content-type"), "application/json");
    let (id, place) = (reply.json()["uuid"].clone(), reply.header("location").to_owned());
    assert_eq!(place, format!("/loadbalancer/{}", text(&id)));
    let twin = server.create(r#"{"name":"twin","port":80}"#).await;
    assert_ne!(twin["uuid"], id);
    assert_eq!(server.get(&place).await.json()["uuid"], id);
    let reply = server.post(&format!("{place}/backend"), r#"{"ip":"10.0.0.1","port":80}"#).await;
    assert_eq!(server.get(reply.header("location")).await.json(), reply.json());
}

#[tokio::test]
async fn defect_2_what_is_not_json_creates_nothing() {
    let server = Server::new();
    for body in ["", " \n", "{", "name=x", "{\"port\":80}{\"port\":81}", "\u{feff}{\"port\":80}", "{'port':80}"] {
        assert_eq!(server.post("/loadbalancer", body).await.problem(), (400, "not-json".to_owned()), "{body}");
    }
    let reply = server.post("/loadbalancer", "{\"name\": \"a\",\n \"port\": eighty}").await.json();
    assert_eq!((&reply["line"], &reply["column"]), (&json!(2), &json!(10)));
    let reply = server.post("/loadbalancer", "").await.json();
    assert!(text(&reply["detail"]).contains("empty"), "{reply}");
    for body in ["{}", "null", "[]", "80", "\"port\"", "{\"name\":\"x\"}"] {
        assert_eq!(server.post("/loadbalancer", body).await.problem(), (422, "invalid".to_owned()), "{body}");
    }
    assert_eq!(server.get("/loadbalancers").await.body, "null\n");
}

#[tokio::test]
async fn defect_3_what_is_not_there_is_404() {
    let server = Server::new();
    let (there, _) = server.create_with_backend().await;
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let backend = r#"{"ip":"10.0.0.9","port":80}"#;
    for id in [nowhere, "web", "00000000000040008000000000000000", "%20", "%ff"] {
        let load_balancer = format!("/loadbalancer/{id}");
        for (method, path, body) in [
            ("GET", load_balancer.clone(), ""),
            ("PUT", load_balancer.clone(), r#"{"name":"x"}"#),
            ("PATCH", load_balancer.clone(), "{}"),
            ("DELETE", load_balancer.clone(), ""),
            ("GET", format!("{load_balancer}/backend"), ""),
            ("POST", format!("{load_balancer}/backend"), backend),
        ] {
            let reply = server.send(method, &path, body).await;
            assert_eq!(reply.status, 404, "{method} {path}: {}", reply.body);
        }
        for (method, body) in [("GET", ""), ("PUT", r#"{"weight":1}"#), ("PATCH", "{}"), ("DELETE", "")] {
            let reply = server.send(method, &format!("{there}/backend/{id}"), body).await;
            assert_eq!(reply.status, 404, "{method} {id}: {}", reply.body);
        }
    }
    for path in ["/loadbalancerz", "/x/", "//", "/loadbalancer/x/y/z", "/loadbalancers/x"] {
        assert_eq!(server.get(path).await.problem(), (404, "unknown-path".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn defect_4_a_port_is_a_port() {
    let server = Server::new();
    let ports = ["0", "65536", "65616", "-1", "\"80\"", "6443.5", "1e9", "1e300", "null", "true", "[80]", "{}"];
    for port in ports {
        let reply = server.post("/loadbalancer", &format!(r#"{{"name":"x","port":{port}}}"#)).await;
        assert_eq!(reply.problem(), (422, "invalid".to_owned()), "{port}");
        assert_eq!(reply.pointers(), ["#/port"], "{port}");
    }
    assert_eq!(server.get("/loadbalancers").await.body, "null\n");
    let (path, _) = server.create_with_backend().await;
    for port in ports {
        let reply = server.post(&format!("{path}/backend"), &format!(r#"{{"ip":"10.0.0.2","port":{port}}}"#)).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/port".to_owned()]), "{port}");
    }
    assert_eq!(server.create(r#"{"name":"float","port":6443.0}"#).await["port"], json!(6443));
}

#[tokio::test]
async fn defect_5_backends_of_a_creation_are_taken_and_ids_are_the_servers() {
    let server = Server::new();
    let body =
        r#"{"port":80,"backends":[{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.2","port":80,"type":"local","weight":7}]}"#;
    let created = server.create(body).await;
    let backends = created["backends"].as_array().unwrap();
    let shown: Vec<Value> = backends.iter().map(|b| json!([b["ip"], b["port"], b["type"], b["weight"]])).collect();
    assert_eq!(shown, [json!(["10.0.0.1", 1, "MASQ", 1]), json!(["10.0.0.2", 80, "LOCAL", 7])]);
    let path = format!("/loadbalancer/{}", text(&created["uuid"]));
    assert_eq!(server.get(&format!("{path}/backend")).await.json(), created["backends"]);

    let id = "00000000-0000-4000-8000-000000000000";
    let reply = server.post("/loadbalancer", &format!(r#"{{"port":80,"uuid":"{id}","status":"active"}}"#)).await;
    assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/uuid".to_owned(), "#/status".to_owned()]));
    let body = format!(r#"{{"ip":"10.0.0.3","port":80,"uuid":"{id}"}}"#);
    let reply = server.post(&format!("{path}/backend"), &body).await;
    assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/uuid".to_owned()]));
}

#[tokio::test]
async fn what_the_kernel_lacks_is_a_conflict_and_what_nobody_knows_or_can_do_is_invalid() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let reply = server.send("PATCH", &path, r#"{"scheduler":"random"}"#).await;
    assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/scheduler".to_owned()]));
    assert!(reply.body.contains("there are rr, wrr, lc"), "{}", reply.body);
    let endpoint = Endpoint::tcp("192.0.2.1".parse::<Vip>().unwrap(), 80_i64.try_into().unwrap());
    server.fail(Failure::Step {
        step: Step::Dataplane(DataplaneStep::SetService(endpoint.into(), slb_core::model::ServiceSettings::default())),
        may_pass: false,
        undone: true,
        cause: Box::new(slb_core::ports::Lacking("scheduler twos (module ip_vs_twos)".to_owned())),
    });
    let reply = server.send("PATCH", &path, r#"{"scheduler":"twos"}"#).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (409, &serde_json::json!("/problems/unsupported")));
    assert!(reply.body.contains("the kernel has no scheduler twos"), "{}", reply.body);
    server.fail(Failure::Step {
        step: Step::Dataplane(DataplaneStep::SetService(endpoint.into(), slb_core::model::ServiceSettings::default())),
        may_pass: false,
        undone: true,
        cause: Box::new(slb_core::ports::Unserved("it takes a kernel".to_owned())),
    });
    let reply = server.send("PATCH", &path, r#"{"scheduler":"twos"}"#).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (422, &serde_json::json!("/problems/unserved")));
    assert!(reply.body.contains("it takes a kernel"), "{}", reply.body);
}

#[tokio::test]
async fn defect_6_a_step_that_fails_is_told_and_shown_nowhere() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let before = server.get(&path).await.body;
    let endpoint = Endpoint::tcp("192.0.2.1".parse::<Vip>().unwrap(), 80_i64.try_into().unwrap());
    for (may_pass, status, kind) in [(true, 503, "step-failed"), (false, 500, "step-refused")] {
        for (method, path, body) in [
            ("POST", format!("{path}/backend"), r#"{"ip":"10.0.0.2","port":80}"#),
            ("DELETE", backend.clone(), ""),
            ("PATCH", backend.clone(), r#"{"weight":3}"#),
        ] {
            server.fail(Failure::Step {
                step: Step::Dataplane(DataplaneStep::AddService(
                    endpoint.into(),
                    slb_core::model::ServiceSettings::default(),
                )),
                may_pass,
                undone: true,
                cause: Box::new(std::io::Error::from_raw_os_error(12)),
            });
            let reply = server.send(method, &path, body).await;
            assert_eq!(reply.problem(), (status, kind.to_owned()));
            let problem = reply.json();
            assert_eq!(problem["step"], "add service 192.0.2.1:80 (rr)");
            assert_eq!(problem["undone"], true);
            assert_eq!(problem["cause"], "Cannot allocate memory (os error 12)");
            assert!(text(&problem["detail"]).ends_with("Cannot allocate memory (os error 12)"));
            assert_eq!(reply.headers.contains_key("retry-after"), may_pass);
        }
    }
    assert_eq!(server.get(&path).await.body, before);
}

#[tokio::test]
async fn defect_7_an_unknown_type_is_refused_and_a_known_one_normalised() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let path = format!("{path}/backend");
    for kind in ["\"NAT\"", "\"TUNNEL\"", "\"\"", "\"MASQ \"", "1", "null"] {
        let reply = server.post(&path, &format!(r#"{{"ip":"10.0.0.9","port":80,"type":{kind}}}"#)).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/type".to_owned()]), "{kind}");
    }
    for (n, kind) in ["masq", "Masq", "LOCAL", "local", "dr", "Tun"].into_iter().enumerate() {
        let reply = server.post(&path, &format!(r#"{{"ip":"10.0.1.{n}","port":80,"type":"{kind}"}}"#)).await;
        assert_eq!(reply.json()["type"], kind.to_uppercase());
    }
    let reply = server.post(&path, r#"{"ip":"2001:db8::1","port":80}"#).await;
    assert_eq!(reply.problem(), (409, "backend-unfit".to_owned()));
    assert!(reply.body.contains("no IPv4 address"), "{}", reply.body);
}

/// The slice without a lock: concurrent creations lost each other.
#[tokio::test]
async fn defect_9_concurrent_requests_lose_nothing() {
    let server = Server::new();
    let creations = (1..=64).map(|port| {
        let body = format!(r#"{{"port":{port},"eip":"192.0.2.{}"}}"#, 1 + port % 4);
        let server = &server;
        async move { server.create(&body).await }
    });
    let created = futures_util::future::join_all(creations).await;
    let list = server.get("/loadbalancers").await.json();
    assert_eq!(list.as_array().unwrap().len(), 64);
    assert!(created.iter().all(|one| list.as_array().unwrap().contains(one)));
    let paths: Vec<String> = created.iter().map(|one| format!("/loadbalancer/{}", text(&one["uuid"]))).collect();
    let replies = futures_util::future::join_all(paths.iter().map(|path| server.send("DELETE", path, ""))).await;
    assert!(replies.iter().all(|reply| reply.status == 204));
    assert_eq!(server.get("/loadbalancers").await.body, "[]\n");
}
