// SPDX-License-Identifier: Apache-2.0
//! A client that believes nothing: whatever it gets must be in `openapi.yaml`, status, headers and body.

use std::{net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use serde_json::Value;
use slb_api::{Options, router, routes::ROUTES};
use slb_core::{
    board::Board,
    command::{Failure, Mailbox},
};
use tower::ServiceExt;

use crate::{
    description::{DOCUMENT, faults, resolve},
    memory::{self, Faults},
};

/// An API with memory behind it.
pub struct Server {
    pub router: Router,
    pub board: Arc<Board>,
    pub mailbox: Mailbox,
    faults: Faults,
}

/// A response, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Server {
    /// With 192.0.2.1 to 192.0.2.4 to hand out.
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let (mailbox, board, faults) = memory::start(Ipv4Addr::new(192, 0, 2, 1), 4);
        Self { router: router(mailbox.clone(), Arc::clone(&board), options), board, mailbox, faults }
    }

    /// With something else behind the mailbox.
    pub fn before(mailbox: Mailbox) -> Self {
        let board = Arc::new(Board::default());
        let router = router(mailbox.clone(), Arc::clone(&board), Options::default());
        Self { router, board, mailbox, faults: Faults::default() }
    }

    /// The next command fails.
    pub fn fail(&self, failure: Failure) {
        self.faults.lock().unwrap().push_back(failure);
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, body).await
    }

    pub async fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
        self.request(request).await
    }

    pub async fn request(&self, request: Request<Body>) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        reply.check(&method, &path);
        reply
    }

    /// A load-balancer as it is shown.
    pub async fn create(&self, body: &str) -> Value {
        let reply = self.post("/loadbalancer", body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()
    }

    /// The path of a new load-balancer, and the path of its only backend.
    pub async fn create_with_backend(&self) -> (String, String) {
        let created = self.create(r#"{"name":"web","port":80,"backends":[{"ip":"10.0.0.1","port":8080}]}"#).await;
        let path = format!("/loadbalancer/{}", text(&created["uuid"]));
        let backend = format!("{path}/backend/{}", text(&created["backends"][0]["uuid"]));
        (path, backend)
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status and the last part of the problem's type.
    pub fn problem(&self) -> (u16, String) {
        let problem = self.json();
        let kind = text(&problem["type"]).strip_prefix("/problems/").unwrap().to_owned();
        (self.status.as_u16(), kind)
    }

    /// The pointers of what is wrong, in order.
    pub fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| text(&error["pointer"]).to_owned()).collect()
    }

    fn check(&self, method: &Method, path: &str) {
        let what = format!("{method} {path}: {} {}", self.status, self.body);
        assert!(!self.header("x-request-id").is_empty(), "{what}");
        let described = described(method, path).filter(|_| self.status != 405);
        let Some(operation) = described else {
            assert!(matches!(self.status.as_u16(), 204 | 301 | 403 | 404 | 405), "{what}");
            return self.check_problem(&what);
        };
        let response = operation["responses"].get(self.status.as_str()).unwrap_or_else(|| panic!("undescribed {what}"));
        let response = resolve(response);
        for (name, header) in response["headers"].as_object().unwrap() {
            let required = resolve(header).get("required") == Some(&Value::Bool(true));
            assert!(!required || self.headers.contains_key(name.to_lowercase()), "{name} is missing: {what}");
        }
        match response.get("content") {
            None => assert_eq!((self.body.as_str(), self.header("content-type")), ("", ""), "{what}"),
            Some(content) => {
                let content = &content[self.header("content-type")];
                assert!(content.is_object(), "undescribed {}: {what}", self.header("content-type"));
                if *method != Method::HEAD && self.header("content-type").ends_with("json") {
                    assert!(self.body.ends_with('\n'), "{what}");
                    assert_eq!(faults(&content["schema"], &self.json()), Vec::<String>::new(), "{what}");
                }
            }
        }
        self.check_problem(&what);
    }

    /// A refusal says the same as its head.
    fn check_problem(&self, what: &str) {
        if self.status.as_u16() < 400 || self.body.is_empty() {
            return;
        }
        let problem = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}");
        assert_eq!(faults(&DOCUMENT["components"]["schemas"]["Problem"], &problem), Vec::<String>::new(), "{what}");
        assert_eq!(problem["status"], self.status.as_u16(), "{what}");
        assert_eq!(problem["requestId"], self.header("x-request-id"), "{what}");
    }
}

/// The description of what a method of a path does; HEAD does what GET does.
fn described(method: &Method, path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(want, is)| want == is || (want.starts_with('{') && !is.is_empty()))
    };
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let route = ROUTES.iter().find(|route| route.method == *method && fits(route.path))?;
    Some(&DOCUMENT["paths"][route.path][method.as_str().to_lowercase()])
}
