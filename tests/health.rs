// SPDX-License-Identifier: Apache-2.0
//! Backends that fail are taken out, and come back: by their checks, on a real kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use slb_lab::{Backend, Plane, Server, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// Often enough for a test.
const CHECK: &str = r#""healthCheck":{"type":"http","interval":"500ms","timeout":"500ms","rise":2,"fall":2}"#;

/// A load-balancer with both web servers behind it, that are checked.
fn checked(server: &Server<'_>, more: &str) -> Value {
    let backends = r#""backends":[{"ip":"192.168.0.11","port":80},{"ip":"192.168.0.12","port":80}]"#;
    server.create(&format!(r#"{{"name":"web","port":80,{backends},{more}}}"#))
}

fn path(load_balancer: &Value) -> String {
    format!("/loadbalancer/{}", load_balancer["uuid"].as_str().unwrap())
}

fn health(server: &Server<'_>, load_balancer: &Value) -> Vec<String> {
    let shown = server.ask("GET", &path(load_balancer), "").json();
    let of = |backend: &Value| backend["observed"]["health"].as_str().unwrap().to_owned();
    shown["backends"].as_array().unwrap().iter().map(of).collect()
}

fn becomes(server: &Server<'_>, load_balancer: &Value, expected: [&str; 2]) {
    wait::until(&format!("the backends to be {expected:?}"), || {
        (health(server, load_balancer) == expected).then_some(())
    });
}

fn answers(site: &Site, load_balancer: &Value) -> Vec<String> {
    let mut answers: Vec<_> = (0..4).map(|_| site.get(load_balancer).unwrap()).collect();
    answers.sort_unstable();
    answers
}

fn a_backend_that_fails_is_out_until_it_is_back() {
    let site = Site::new(SLB);
    let [_one, two] = site.web();
    let server = site.start(&[]);
    let web = checked(&server, CHECK);
    becomes(&server, &web, ["up", "up"]);
    assert_eq!(answers(&site, &web), ["one", "one", "two", "two"]);

    drop(two);
    becomes(&server, &web, ["up", "down"]);
    assert_eq!(answers(&site, &web), ["one"; 4]);
    let shown = server.ask("GET", &path(&web), "").json();
    let last = &shown["backends"][1]["observed"]["lastCheck"];
    assert!(last["error"].as_str().unwrap().contains("refused"), "{last}");
    if Plane::here() == Plane::Ipvs {
        assert!(site.lb.services().contains("-a -t 192.168.0.85:80 -r 192.168.0.12:80 -m -w 0"));
    }

    let _two = Backend::start(&site.two, 80, "two");
    becomes(&server, &web, ["up", "up"]);
    assert_eq!(answers(&site, &web), ["one", "one", "two", "two"]);
}

/// A dead backend stays out while slb is killed and started, and one that dies meanwhile is found out.
fn health_is_remembered_over_kill_9() {
    let site = Site::new(SLB);
    let [one, two] = site.web();
    let server = site.start(&[]);
    let web = checked(&server, CHECK);
    becomes(&server, &web, ["up", "up"]);
    drop(two);
    becomes(&server, &web, ["up", "down"]);
    let before = site.lb.services();
    server.kill();
    let server = site.start(&[]);
    assert_eq!(site.lb.services(), before);
    assert_eq!(health(&server, &web), ["up", "down"]);
    server.kill();
    drop(one);
    let _two = Backend::start(&site.two, 80, "two");
    let server = site.start(&[]);
    becomes(&server, &web, ["down", "up"]);
    assert_eq!(answers(&site, &web), ["two"; 4]);
}

/// The check is shared, and what it found before as well.
fn a_dead_backend_is_known_to_who_comes_later() {
    let site = Site::new(SLB);
    let [_one, two] = site.web();
    let server = site.start(&[]);
    let first = checked(&server, CHECK);
    let otherwise = checked(&server, &CHECK.replace("\"fall\":2", "\"fall\":2,\"port\":81"));
    drop(two);
    becomes(&server, &first, ["up", "down"]);
    becomes(&server, &otherwise, ["down", "down"]);
    let second = checked(&server, CHECK);
    assert_eq!(health(&server, &second), ["up", "down"]);
    assert_eq!(answers(&site, &second), ["one"; 4]);
    let corrected = server.ask("PATCH", &path(&otherwise), &format!("{{{CHECK}}}"));
    assert_eq!(corrected.status, 200);
    assert_eq!(health(&server, &otherwise), ["up", "down"]);
    let _two = Backend::start(&site.two, 80, "two");
    for each in [&first, &second, &otherwise] {
        becomes(&server, each, ["up", "up"]);
        assert_eq!(answers(&site, each), ["one", "one", "two", "two"]);
    }
}

fn the_fallback_says_sorry() {
    let site = Site::new(SLB);
    let [one, two] = site.web();
    let _sorry = Backend::start(&site.two, 81, "sorry");
    let server = site.start(&[]);
    let web = checked(&server, &format!(r#"{CHECK},"fallback":{{"ip":"192.168.0.12","port":81}}"#));
    becomes(&server, &web, ["up", "up"]);
    drop((one, two));
    becomes(&server, &web, ["down", "down"]);
    assert_eq!(answers(&site, &web), ["sorry"; 4]);
    let _one = Backend::start(&site.one, 80, "one");
    becomes(&server, &web, ["up", "down"]);
    assert_eq!(answers(&site, &web), ["one"; 4]);
}

/// With no threshold both would be out.
fn when_too_many_fail_all_are_sent_to() {
    let site = Site::new(SLB);
    let [_one, two] = site.web();
    let server = site.start(&[]);
    let panicky =
        CHECK.replace("\"fall\":2", "\"fall\":2,\"path\":\"/\",\"expectStatus\":\"404\",\"panicThreshold\":60");
    let web = checked(&server, &panicky);
    becomes(&server, &web, ["down", "down"]);
    let shown = server.ask("GET", &path(&web), "").json();
    assert_eq!(shown["observed"]["panics"], true, "{shown}");
    assert_eq!(answers(&site, &web), ["one", "one", "two", "two"]);
    drop(two);
}

/// One backend of a load-balancer is asked something else; and a command only where it is allowed.
fn a_backend_may_be_asked_something_else() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let web = server.create(&format!(r#"{{"port":80,{CHECK}}}"#));
    let other = r#"{"ip":"192.168.0.12","port":80,"healthCheck":{"type":"tcp","port":81,"interval":"500ms","timeout":"500ms"}}"#;
    let _ = server.add_backend(&web, r#"{"ip":"192.168.0.11","port":80}"#);
    let two = server.add_backend(&web, other);
    becomes(&server, &web, ["up", "down"]);
    let backend = format!("{}/backend/{}", path(&web), two["uuid"].as_str().unwrap());
    assert_eq!(server.ask("PATCH", &backend, r#"{"healthCheck":null}"#).status, 200);
    becomes(&server, &web, ["up", "up"]);
    let exec = json!({"healthCheck": {"type": "exec", "command": ["/bin/true"]}}).to_string();
    let refused = server.ask("PATCH", &backend, &exec);
    assert_eq!((refused.status, refused.json()["type"].as_str()), (409, Some("/problems/commands-off")));
    server.stop();
    let server = site.start(&["--allowExecChecks"]);
    let commands =
        json!({"healthCheck": {"type": "exec", "command": ["/bin/false"], "interval": "500ms", "timeout": "500ms"}});
    assert_eq!(server.ask("PATCH", &backend, &commands.to_string()).status, 200);
    becomes(&server, &web, ["up", "down"]);
}

slb_lab::main! {
    fast, user: [
        a_backend_that_fails_is_out_until_it_is_back,
        health_is_remembered_over_kill_9,
        a_dead_backend_is_known_to_who_comes_later,
        the_fallback_says_sorry,
        when_too_many_fail_all_are_sent_to,
        a_backend_may_be_asked_something_else,
    ],
}
