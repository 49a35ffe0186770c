//! The direction of dependencies: banter → server → storage → protocol, and
//! banter → lab → client → protocol.

use std::fs;

use toml::{Table, Value};

use crate::assert_tidy;
use crate::tree::root;

/// Which of our crates each may name.
const MAY_NAME: [(&str, &[&str]); 6] = [
    ("protocol", &[]),
    ("storage", &["protocol"]),
    ("server", &["storage", "protocol"]),
    ("client", &["protocol"]),
    ("lab", &["client", "protocol"]),
    (
        "banter",
        &["server", "storage", "lab", "client", "protocol"],
    ),
];

/// Foreign crates that belong to one of ours.
const HOMES: [(&str, &str); 8] = [
    ("sqlx", "storage"),
    ("redis", "storage"),
    ("axum", "server"),
    ("utoipa", "server"),
    ("utoipa-axum", "server"),
    ("jsonwebtoken", "server"),
    ("argon2", "server"),
    ("opentelemetry", "server"),
];

fn manifest(name: &str) -> Table {
    let path = root().join("crates").join(name).join("Cargo.toml");
    let text = fs::read_to_string(&path).expect("every crate has a manifest");
    toml::from_str(&text).expect("a manifest is TOML")
}

/// Names in a section such as `dependencies`, with their values.
fn section(manifest: &Table, name: &str) -> Table {
    let section = manifest.get(name).and_then(Value::as_table);
    section.cloned().unwrap_or_default()
}

#[test]
fn the_crates_are_these() {
    let entries = fs::read_dir(root().join("crates")).expect("there are crates");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("readable").file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut known: Vec<_> = MAY_NAME
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    known.sort();
    assert_eq!(names, known);
}

#[test]
fn dependencies_point_one_way() {
    let mut found = Vec::new();
    for (name, allowed) in MAY_NAME {
        let manifest = manifest(name);
        for section_name in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, _) in section(&manifest, section_name) {
                let ours = dependency.strip_prefix("banter-");
                if ours.is_some_and(|ours| !allowed.contains(&ours)) {
                    found.push(format!("{name} must not depend on {dependency}"));
                }
            }
        }
        for (dependency, _) in section(&manifest, "dependencies") {
            let home = HOMES.iter().find(|(foreign, _)| *foreign == dependency);
            if home.is_some_and(|(_, home)| *home != name) {
                found.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    assert_tidy(&found);
}

#[test]
fn manifests_share_versions_and_lints() {
    let mut found = Vec::new();
    for (name, _) in MAY_NAME {
        let manifest = manifest(name);
        let shared = |value: &Value| value.get("workspace").and_then(Value::as_bool) == Some(true);
        if !manifest.get("lints").is_some_and(shared) {
            found.push(format!("{name}: [lints] workspace = true is missing"));
        }
        for section_name in ["dependencies", "dev-dependencies"] {
            for (dependency, value) in section(&manifest, section_name) {
                if !shared(&value) {
                    found.push(format!("{name}: {dependency} has a version of its own"));
                }
            }
        }
    }
    assert_tidy(&found);
}
