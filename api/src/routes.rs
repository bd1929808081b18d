// SPDX-License-Identifier: Apache-2.0
//! The table of routes. The router, the `Allow` headers and the test that compares `openapi.yaml` are all made from it.

use std::collections::BTreeMap;

use axum::{
    Router,
    http::{
        HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{ALLOW, LOCATION},
    },
    response::Response,
    routing::{MethodFilter, MethodRouter, any, on},
};

use crate::{
    Api, backends, bgp, bulk, drain, events, file, health, loadbalancers,
    problem::{Kind, Problem},
    shutdown, statistics,
};

/// A method of a path, and what serves it.
pub struct Route {
    /// With parameters in braces.
    pub path: &'static str,
    /// GET is for HEAD too; OPTIONS is there for every path.
    pub method: Method,
    serve: fn(MethodFilter) -> MethodRouter<Api>,
}

/// Declares a [`Route`]: the handler is wrapped, so that the method is said once.
macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)*) => {
        /// Every route.
        pub static ROUTES: &[Route] =
            &[$(Route { path: $path, method: Method::$method, serve: |method| on(method, $handler) },)*];
    };
}

routes! {
    GET "/" => health::welcome;
    GET "/healthz" => health::health;
    GET "/readyz" => health::readiness;
    GET "/openapi.yaml" => health::description;
    GET "/loadbalancers" => loadbalancers::list;
    POST "/loadbalancers" => bulk::create;
    PUT "/loadbalancers" => bulk::replace;
    POST "/loadbalancer" => loadbalancers::create;
    GET "/loadbalancer/{uuid}" => loadbalancers::show;
    PUT "/loadbalancer/{uuid}" => loadbalancers::replace;
    PATCH "/loadbalancer/{uuid}" => loadbalancers::update;
    DELETE "/loadbalancer/{uuid}" => loadbalancers::delete;
    GET "/loadbalancer/{uuid}/backend" => backends::list;
    POST "/loadbalancer/{uuid}/backend" => backends::add;
    PUT "/loadbalancer/{uuid}/backend" => backends::replace_all;
    GET "/loadbalancer/{uuid}/backend/{backenduuid}" => backends::show;
    PUT "/loadbalancer/{uuid}/backend/{backenduuid}" => backends::replace;
    PATCH "/loadbalancer/{uuid}/backend/{backenduuid}" => backends::update;
    DELETE "/loadbalancer/{uuid}/backend/{backenduuid}" => backends::remove;
    GET "/loadbalancer/{uuid}/statistics" => statistics::one;
    GET "/statistics" => statistics::all;
    GET "/events" => events::follow;
    GET "/file" => file::show;
    POST "/loadbalancer/{uuid}/drain" => drain::drain;
    POST "/loadbalancer/{uuid}/undrain" => drain::undrain;
    POST "/loadbalancer/{uuid}/backend/{backenduuid}/drain" => drain::drain_backend;
    POST "/loadbalancer/{uuid}/backend/{backenduuid}/undrain" => drain::undrain_backend;
    GET "/bgp/peers" => bgp::peers;
    POST "/bgp/peers" => bgp::add;
    GET "/bgp/peers/{address}" => bgp::peer;
    DELETE "/bgp/peers/{address}" => bgp::remove;
    GET "/bgp/routes" => bgp::routes;
    GET "/bgp/shutdown" => shutdown::show;
    PUT "/bgp/shutdown" => shutdown::ask;
    DELETE "/bgp/shutdown" => shutdown::take_back;
}

/// The router of the table.
pub(crate) fn router() -> Router<Api> {
    let mut paths: BTreeMap<&'static str, (MethodRouter<Api>, Vec<&str>)> = BTreeMap::new();
    for route in ROUTES {
        let (served, allow) = paths.entry(route.path).or_default();
        if let Ok(filter) = MethodFilter::try_from(route.method.clone()) {
            *served = std::mem::take(served).merge((route.serve)(filter));
        }
        allow.push(route.method.as_str());
        if route.method == Method::GET {
            allow.push(Method::HEAD.as_str());
        }
    }
    let mut router = Router::new();
    for (path, (served, allow)) in paths {
        let allow = [&allow[..], &["OPTIONS"]].concat().join(", ");
        router = router.route(path, with_the_rest(served, allow));
        if path != "/" {
            router = router.route(&format!("{path}/"), any(without_slash));
        }
    }
    router.fallback(unknown_path)
}

/// OPTIONS, and the answer to methods that the path does not take.
fn with_the_rest(served: MethodRouter<Api>, allow: String) -> MethodRouter<Api> {
    let options = allow.clone();
    served
        .on(MethodFilter::OPTIONS, async move || empty(StatusCode::NO_CONTENT, ALLOW, &options))
        .fallback(async move |method: Method| Problem::method_not_allowed(method.as_str(), &allow))
}

/// A slash too many: the original sends clients on in the same way.
async fn without_slash(uri: Uri) -> Response {
    let path = uri.path().trim_end_matches('/');
    let place = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    empty(StatusCode::MOVED_PERMANENTLY, LOCATION, &place)
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(Kind::UnknownPath, format!("{} is not a path of this API; /openapi.yaml describes it", uri.path()))
}

fn empty(status: StatusCode, name: HeaderName, value: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
