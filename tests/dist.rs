// SPDX-License-Identifier: Apache-2.0
//! What `make dist` has made is what was promised: each test takes its file from `dist/`. They are for `make dist-test`, since
//! emulated processors are slow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "dist/arm.rs"]
mod arm;
#[path = "dist/package.rs"]
mod package;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use slb_lab::{Loopback, Schemathesis};

const DIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist");
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api/schemathesis.toml");
const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml");
const PROCESSORS: [&str; 3] = ["amd64", "arm64", "armv7"];
/// Emulators of processors know little of netlink, so slb is to do without.
const UNPRIVILEGED: [&str; 2] = ["--bounding-set=-all", "--inh-caps=-all"];
/// In bytes.
const LARGEST: u64 = 12_000_000;

fn binary(processor: &str) -> PathBuf {
    Path::new(DIST).join(format!("slb-linux-{processor}"))
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(DIST).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {}:\n{said}", output.status);
    said
}

#[test]
fn binaries_are_static_and_small() {
    for processor in PROCESSORS {
        let binary = binary(processor);
        let kind = said("file", &["--brief", binary.to_str().unwrap()]);
        assert!(kind.contains("statically linked") || kind.contains("static-pie linked"), "{processor}: {kind}");
        assert!(kind.contains(", stripped"), "{processor}: {kind}");
        let length = fs::metadata(binary).unwrap().len();
        assert!(length <= LARGEST, "{processor}: {length} bytes");
    }
}

#[test]
fn checksums_are_of_all_files() {
    let checked = said("sha256sum", &["--check", "--strict", "SHA256SUMS"]);
    assert_eq!(checked.lines().count() + 1, fs::read_dir(DIST).unwrap().count(), "{checked}");
}

/// Of slb and all that it is made of, by name, version and licence.
#[test]
fn the_bill_of_materials_is_whole() {
    let bill = fs::read_to_string(Path::new(DIST).join("slb.cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["metadata"]["component"]["name"]), (&"CycloneDX".into(), &"slb".into()));
    let components = bill["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|each| each["name"] == name);
    assert!(named("tokio").is_some() && named("redb").is_some() && named("slb-core").is_some());
    assert!(named("musl").is_some() && named("rust-std").is_some());
    assert_eq!(named("prost-build").unwrap()["scope"], "excluded", "it only builds slb");
    assert!(named("libtest-mimic").is_none(), "tests are no part of it");
    for component in components {
        assert!(component["version"].is_string() && component["licenses"].is_array(), "{component}");
    }
}

/// Whoever has the binary is owed them.
#[test]
fn the_licences_of_others_are_told() {
    let notices = fs::read_to_string(Path::new(DIST).join("THIRD-PARTY")).unwrap();
    for word in
        ["tokio 1.", "ring 0.", "musl, the C library", "Rust's standard library", "Permission is hereby granted"]
    {
        assert!(notices.contains(word), "{word}");
    }
    for package in package::all() {
        let listed = said("dpkg-deb", &["--contents", package.to_str().unwrap()]);
        assert!(listed.contains("./usr/share/doc/slb/THIRD-PARTY.gz"), "{listed}");
    }
}

#[test]
fn arm64_does_what_is_described() {
    does_what_is_described("arm64", "qemu-aarch64-static");
}

#[test]
fn armv7_does_what_is_described() {
    does_what_is_described("armv7", "qemu-arm-static");
}

/// All that the API allows, and much that it does not, as tests/contract.rs does it, with a binary for this processor.
fn does_what_is_described(processor: &str, emulator: &str) {
    let adapters = fs::read_to_string("/proc/net/dev").unwrap();
    let only_loopback = adapters.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"));
    assert!(only_loopback, "backends may have any address: run it by `make dist-test`, which has a network of its own");
    let binary = binary(processor);
    let binary = binary.to_str().unwrap();
    assert!(said(emulator, &[binary, "version"]).starts_with(&format!("slb {}", env!("CARGO_PKG_VERSION"))));
    let state = format!("{}/dist-{processor}", env!("CARGO_TARGET_TMPDIR"));
    let _ = fs::remove_dir_all(&state);
    let options = ["--adapter", "lo", "--ipamRange", "127.5.0.0/21", "--dataplane", "user", "--stateDir", &state];
    let server = Loopback::start_by("setpriv", &[&UNPRIVILEGED[..], &[emulator, binary]].concat(), &options);
    assert_eq!(server.show("/")["dataplane"], "user");
    let url = format!("http://{}", server.api());
    let drive = |what: &[&str]| {
        let whole = Schemathesis { config: CONFIG, description: DESCRIPTION, url: &url };
        whole.drive(what, |program, words| Command::new(program).args(words).output().unwrap());
    };
    drive(&["--phases", "examples,coverage", "--mode", "positive"]);
    drive(&["--phases", "fuzzing,stateful", "--max-examples", "20"]);
}
