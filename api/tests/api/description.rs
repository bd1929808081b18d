// SPDX-License-Identifier: Apache-2.0
//! `openapi.yaml` and the server say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use axum::http::Method;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use slb_api::{problem::Kind, routes::ROUTES};

/// `openapi.yaml`, with references where they were.
pub static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("../../../openapi.yaml")).unwrap());

/// The value that a reference leads to, or the value itself.
pub fn resolve(value: &Value) -> &Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolve(DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap()),
        None => value,
    }
}

/// A validator for a schema of the document.
pub fn validator(schema: &Value) -> Validator {
    // The document's own keywords mean nothing to JSON Schema; beside the schema they only give references something to lead to.
    let mut root = DOCUMENT.as_object().unwrap().clone();
    root.extend(schema.as_object().unwrap().clone());
    jsonschema::options().should_validate_formats(true).build(&Value::Object(root)).unwrap()
}

/// Why the value is not of the schema.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    validator(schema).iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A body that the document shows.
struct Shown {
    place: String,
    schema: &'static Value,
    examples: &'static Map<String, Value>,
    /// What it is answered with; requests and shared responses have none.
    status: Option<u16>,
}

fn bodies() -> Vec<Shown> {
    let mut bodies = Vec::new();
    let mut add = |place: String, with_content: &'static Value, status: Option<u16>| {
        for (media_type, content) in with_content.get("content").into_iter().flat_map(object) {
            if let Some(examples) = content.get("examples") {
                let place = format!("{place} {media_type}");
                bodies.push(Shown { place, schema: &content["schema"], examples: object(examples), status });
            }
        }
    };
    for (path, item) in object(&DOCUMENT["paths"]) {
        for (method, operation) in object(item).iter().filter(|(key, _)| METHODS.contains(&key.as_str())) {
            if let Some(body) = operation.get("requestBody") {
                add(format!("{method} {path}"), body, None);
            }
            for (status, response) in object(&operation["responses"]) {
                add(format!("{method} {path} {status}"), resolve(response), Some(status.parse().unwrap()));
            }
        }
    }
    for (name, response) in object(&DOCUMENT["components"]["responses"]) {
        add(name.clone(), response, None);
    }
    bodies
}

#[test]
fn paths_and_methods_are_those_that_are_served() {
    let served: BTreeSet<(String, String)> =
        ROUTES.iter().map(|route| (route.path.to_owned(), route.method.as_str().to_lowercase())).collect();
    let described = object(&DOCUMENT["paths"]).iter().flat_map(|(path, item)| {
        let methods = object(item).keys().filter(|key| METHODS.contains(&key.as_str()));
        methods.map(move |method| (path.clone(), method.clone()))
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), served);
    assert_eq!(served.len(), ROUTES.len(), "a route is in the table twice");
}

#[test]
fn parameters_of_paths_are_described() {
    for (path, item) in object(&DOCUMENT["paths"]) {
        let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters = item.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let described = parameters.map(|parameter| resolve(parameter)["name"].as_str().unwrap());
        assert_eq!(described.collect::<Vec<_>>(), in_path.collect::<Vec<_>>(), "{path}");
    }
}

/// The names of headers that an operation takes.
fn headers(operation: &Value) -> BTreeSet<&str> {
    let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten().map(resolve);
    let headers = parameters.filter(|parameter| parameter["in"] == "header");
    headers.map(|parameter| parameter["name"].as_str().unwrap()).collect()
}

#[test]
fn headers_are_described_where_they_count() {
    for route in ROUTES {
        let operation = &DOCUMENT["paths"][route.path][route.method.as_str().to_lowercase()];
        let is_keyed = headers(operation).contains("Idempotency-Key");
        assert_eq!(is_keyed, route.method == Method::POST, "{} {}", route.method, route.path);
        // There is nothing yet at the path of a creation: what is expected there is not, whatever it is.
        let may_differ = operation["responses"].get("412").is_some() && route.path != "/loadbalancer";
        for header in ["If-Match", "If-None-Match"] {
            assert_eq!(headers(operation).contains(header), may_differ, "{header}: {} {}", route.method, route.path);
        }
    }
}

#[test]
fn links_lead_to_operations_and_name_all_of_their_parameters() {
    let operations: BTreeMap<&str, &str> = object(&DOCUMENT["paths"])
        .iter()
        .flat_map(|(path, item)| object(item).values().map(move |operation| (path.as_str(), operation)))
        .filter_map(|(path, operation)| Some((operation.get("operationId")?.as_str()?, path)))
        .collect();
    assert_eq!(operations.len(), ROUTES.len(), "an operationId is missing or there twice");
    let responses = object(&DOCUMENT["paths"]).values().flat_map(|item| object(item).values());
    let responses = responses.filter_map(|operation| operation.get("responses")).flat_map(|all| object(all).values());
    let links =
        responses.filter_map(|response| resolve(response).get("links")).flat_map(|links| object(links).values());
    let mut count = 0;
    for link in links {
        let path = operations[link["operationId"].as_str().unwrap()];
        let given: BTreeSet<_> = object(&link["parameters"]).keys().map(String::as_str).collect();
        let taken = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(given, taken.collect(), "{link}");
        count += 1;
    }
    assert!(count > 15, "only {count} links");
}

#[test]
fn examples_are_of_their_schemas() {
    let bodies = bodies();
    assert!(bodies.len() > 40, "only {} bodies have examples", bodies.len());
    for Shown { place, schema, examples, .. } in bodies {
        for (name, example) in examples {
            assert_eq!(faults(schema, &example["value"]), Vec::<String>::new(), "{place}, example {name}");
        }
    }
}

#[test]
fn every_problem_has_an_example_that_says_what_the_server_says() {
    let mut seen = BTreeSet::new();
    let problems = bodies().into_iter().filter(|shown| shown.place.ends_with("problem+json"));
    for Shown { place, examples, status, .. } in problems {
        for example in examples.values().map(|example| &example["value"]) {
            let slug = example["type"].as_str().unwrap().strip_prefix("/problems/").unwrap();
            let kind = Kind::ALL.iter().find(|kind| kind.slug() == slug).unwrap_or_else(|| panic!("{place}: {slug}"));
            assert_eq!(example["title"], kind.title(), "{place}");
            assert_eq!(example["status"], kind.status().as_u16(), "{place}");
            assert!(status.is_none_or(|status| status == kind.status().as_u16()), "{slug} under {place}");
            seen.insert(slug);
        }
    }
    assert_eq!(seen, Kind::ALL.iter().map(|kind| kind.slug()).collect());
}

#[test]
fn every_refusal_says_its_request() {
    for (name, response) in object(&DOCUMENT["components"]["responses"]) {
        assert_eq!(response["headers"]["X-Request-Id"], json!({"$ref": "#/components/headers/RequestId"}), "{name}");
    }
}

#[test]
fn the_version_is_the_servers() {
    assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
}
