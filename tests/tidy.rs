// SPDX-License-Identifier: Apache-2.0
//! The rules of the house that a program can check: who may use whom, and what every file has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Who may use whom of our packages; the drawing is in docs/ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 15] = [
    ("slb-core", &[]),
    ("slb-ffi", &[]),
    ("netlink-batch", &[]),
    ("ipvs-netlink", &["netlink-batch"]),
    ("slb-ipam", &["slb-core"]),
    ("slb-advert", &["slb-core", "slb-ffi"]),
    ("slb-proxy", &["slb-core"]),
    ("slb-store", &["slb-core"]),
    ("slb-health", &["slb-core"]),
    ("slb-api", &["slb-core"]),
    ("slb-host", &["slb-core", "netlink-batch"]),
    ("slb-dataplane", &["slb-core", "slb-ffi", "ipvs-netlink"]),
    ("slb-lab", &[]),
    ("slb-pages", &[]),
    (
        "slb",
        &[
            "slb-core",
            "slb-ffi",
            "slb-ipam",
            "slb-advert",
            "slb-host",
            "slb-dataplane",
            "slb-proxy",
            "slb-store",
            "slb-health",
            "slb-api",
            "ipvs-netlink",
        ],
    ),
];
/// The decisions know no runtime, no clock of one and no I/O.
const NOT_FOR_CORE: &str = "tokio";
/// Tests of any package may use it, and nothing else.
const LAB: &str = "slb-lab";

const LICENCE: &str = "// SPDX-License-Identifier: Apache-2.0";
const LONGEST: usize = 500;
const EXCUSE: &str = "//! Long because";
/// In two parts, so that this file has neither.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// What allows `unsafe`, in two parts as well; for [`UNSAFE_IS_IN`] and no other folder.
const UNSAFE: &str = concat!("unsafe", "_code");
const UNSAFE_IS_IN: &str = "ffi";
const TEXTS: [&str; 6] = ["rs", "toml", "md", "yaml", "yml", "sh"];

#[test]
fn nobody_uses_what_is_not_theirs() {
    let packages = packages();
    let names: Vec<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let ruled = |name: &&str| ARROWS.iter().any(|(from, _)| from == name);
    assert!(names.iter().all(ruled), "a package without a rule: {names:?}");
    assert_eq!(names.len(), ARROWS.len(), "a rule without a package: {names:?}");
    let forbidden: Vec<String> = packages.iter().flat_map(|package| forbidden_arrows(package, &names)).collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

#[test]
fn every_package_has_the_lints_of_the_workspace() {
    for package in packages() {
        let path = package["manifest_path"].as_str().unwrap();
        let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        let has_lints = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(has_lints, Some(true), "{path}: [lints] workspace = true");
    }
}

#[test]
fn every_file_is_tidy() {
    let files = files(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(files.iter().any(|file| file.ends_with("tests/tidy.rs")), "{files:?}");
    let complaints: Vec<String> =
        files.iter().flat_map(|file| complaints(file, &fs::read_to_string(file).unwrap())).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Rules that cannot be broken prove nothing.
#[test]
fn the_rules_bite() {
    let package = |name: &str, uses: &str, kind: Value| {
        let dependency = serde_json::json!({ "name": uses, "kind": kind });
        forbidden_arrows(&serde_json::json!({ "name": name, "dependencies": [dependency] }), &["slb-host", LAB, "slb"])
    };
    assert_eq!(package("slb-api", "slb-host", Value::Null), ["slb-api -> slb-host"]);
    assert_eq!(package("slb-api", "slb-host", "dev".into()), ["slb-api -> slb-host"]);
    assert_eq!(package("slb-api", LAB, Value::Null), ["slb-api -> slb-lab"]);
    assert_eq!(package("slb-core", NOT_FOR_CORE, Value::Null), ["slb-core -> tokio"]);
    assert!(package("slb-api", LAB, "dev".into()).is_empty());
    assert!(package("slb", "slb-host", Value::Null).is_empty());

    let file = |head: &str, lines: usize| complaints(Path::new("x.rs"), &format!("{head}{}", "\n".repeat(lines))).len();
    let good = format!("{LICENCE}\n//! A front page.\n");
    assert_eq!(file(&good, 0), 0);
    assert_eq!(file(&format!("{LICENCE}\n"), 0), 1);
    assert_eq!(file("//! A front page.\n", 0), 2);
    assert_eq!(file(&format!("{good}// {}: more\n", UNFINISHED[0]), 0), 1);
    assert_eq!(file(&format!("{good}#![expect({UNSAFE})]\n"), 0), 1);
    assert_eq!(file(&good, LONGEST), 1);
    assert_eq!(file(&format!("{good}{EXCUSE} of this.\n"), LONGEST), 0);
}

/// The members of the workspace, as cargo describes them.
fn packages() -> Vec<Value> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn forbidden_arrows(package: &Value, ours: &[&str]) -> Vec<String> {
    let from = package["name"].as_str().unwrap();
    let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == from).unwrap();
    let arrows = package["dependencies"].as_array().unwrap().iter();
    let is_forbidden = |to: &str, kind: Option<&str>| {
        (from == "slb-core" && to == NOT_FOR_CORE)
            || (ours.contains(&to) && !allowed.contains(&to) && !(to == LAB && kind == Some("dev")))
    };
    arrows
        .map(|arrow| (arrow["name"].as_str().unwrap(), arrow["kind"].as_str()))
        .filter(|(to, kind)| is_forbidden(to, *kind))
        .map(|(to, _)| format!("{from} -> {to}"))
        .collect()
}

/// Every text in a folder and those below it, built and hidden ones apart.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.starts_with('.') {
                files.extend(self::files(&path));
            }
        } else if path.extension().is_some_and(|end| TEXTS.iter().any(|text| end == *text)) {
            files.push(path);
        }
    }
    files
}

fn complaints(file: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |what: String| complaints.push(format!("{}: {what}", file.display()));
    for word in UNFINISHED {
        if text.contains(word) {
            complain(format!("{word}: do it, or open an issue"));
        }
    }
    if file.extension().is_some_and(|end| end == "rs") {
        let within = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file);
        if text.contains(UNSAFE) && !within.starts_with(UNSAFE_IS_IN) {
            complain(format!("what needs `unsafe` is in {UNSAFE_IS_IN}/"));
        }
        let mut lines = text.lines();
        if lines.next() != Some(LICENCE) {
            complain(format!("the first line is not {LICENCE}"));
        }
        if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
            complain("the second line is not //! and what the file is about".to_owned());
        }
        let count = text.lines().count();
        if count > LONGEST && !text.lines().any(|line| line.starts_with(EXCUSE)) {
            complain(format!("{count} lines, and no front page that says `{EXCUSE} …`"));
        }
    }
    complaints
}
