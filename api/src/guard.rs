// SPDX-License-Identifier: Apache-2.0
//! Refuses what a web page made a browser send. The port is open and takes any body as JSON, so any page on the web could
//! otherwise create and delete load-balancers through the browser of somebody on this network.
//!
//! Covered: everything that changes something (all methods but GET, HEAD and OPTIONS), when the browser says
//! - `Sec-Fetch-Site: cross-site` or `same-site` (W3C Fetch Metadata), or
//! - an `Origin` that is not this server: `null`, or another host or port than the request's `Host` (RFC 6454 section 7), or
//! - an `Origin` that is this server under a name it does not know. A page can point a name of its own at any address (DNS
//!   rebinding) and is then of the same origin; it cannot do that with an IP address, `localhost` or a name of ours.
//!
//! Browsers send `Origin` with every request of these methods, over plain HTTP too.
//!
//! Not covered: reading. A page of another site gets no answer to its GET, since no response allows it to
//! (no `Access-Control-Allow-Origin`, and `nosniff` keeps JSON from running as a script). A page that rebinds its own name can
//! read the list of load-balancers: nothing tells its GET from that of `curl http://NAME:10001/`, which has to work.
//! Programs other than browsers are not held up: they send neither header.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderValue, Method,
    header::{HOST, ORIGIN},
};

use crate::problem::{Kind, Problem};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Lets the request pass or says why not. `names` are host names that this server knows as its own.
pub(crate) fn check(method: &Method, headers: &HeaderMap, names: &[String]) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    if headers.get_all(SEC_FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none") {
        return Err(refused("a page of another site sent it"));
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let authority = authority(origin).filter(|_| origins.next().is_none());
    let Some(authority) = authority.filter(|authority| is_only_host(headers, authority)) else {
        return Err(refused("its Origin is not this server"));
    };
    if is_ours(host_of(authority), names) {
        return Ok(());
    }
    Err(refused("it calls this server by a name that is not known to be its own; use its IP address"))
}

fn refused(why: &str) -> Problem {
    Problem::new(Kind::CrossSite, format!("the request comes from a web browser, and {why}"))
}

/// `http://HOST:PORT` without its scheme.
fn authority(origin: &HeaderValue) -> Option<&str> {
    origin.to_str().ok()?.split_once("://").map(|(_scheme, authority)| authority)
}

fn is_only_host(headers: &HeaderMap, authority: &str) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let first = hosts.next().and_then(|host| host.to_str().ok());
    first.is_some_and(|host| host.eq_ignore_ascii_case(authority)) && hosts.next().is_none()
}

/// Without the port, and without the brackets of an IPv6 address.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => authority.split_once(':').map_or(authority, |(host, _port)| host),
    }
}

fn is_ours(host: &str, names: &[String]) -> bool {
    host.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        check(&method, &map, &["slb.example".to_owned()]).is_ok()
    }

    #[test]
    fn programs_pass() {
        assert!(verdict(Method::POST, &[]));
        assert!(verdict(Method::POST, &[("host", "anything.example:10001")]));
    }

    #[test]
    fn a_page_changes_only_the_server_it_came_from() {
        for (host, origin, passes) in [
            ("192.168.0.2:10001", "http://192.168.0.2:10001", true),
            ("localhost:10001", "http://localhost:10001", true),
            ("[::1]:10001", "http://[::1]:10001", true),
            ("slb.example", "https://slb.example", true),
            ("SLB.example", "https://slb.EXAMPLE", true),
            ("192.168.0.2:10001", "http://192.168.0.2", false),
            ("192.168.0.2:10001", "http://192.168.0.2:10002", false),
            ("192.168.0.2:10001", "https://evil.example", false),
            ("192.168.0.2:10001", "null", false),
            ("192.168.0.2:10001", "", false),
            ("192.168.0.2:10001", "192.168.0.2:10001", false),
            // DNS rebinding: the same origin, under a name of the page's own.
            ("evil.example:10001", "http://evil.example:10001", false),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(verdict(method, &[("host", host), ("origin", origin)]), passes, "{origin} to {host}");
            }
        }
    }

    #[test]
    fn headers_given_twice_or_not_at_all_do_not_open_the_door() {
        let (good, evil) = (("origin", "http://10.0.0.1"), ("origin", "http://evil.example"));
        assert!(!verdict(Method::POST, &[("host", "10.0.0.1"), good, evil]));
        assert!(!verdict(Method::POST, &[("host", "10.0.0.1"), ("host", "10.0.0.1"), good]));
        assert!(!verdict(Method::POST, &[good]));
    }

    #[test]
    fn what_the_browser_says_of_the_page_counts() {
        for (site, passes) in
            [("cross-site", false), ("same-site", false), ("same-origin", true), ("none", true), ("fish", false)]
        {
            assert_eq!(verdict(Method::DELETE, &[("sec-fetch-site", site)]), passes, "{site}");
            assert!(verdict(Method::GET, &[("sec-fetch-site", site)]), "{site}");
        }
    }
}
