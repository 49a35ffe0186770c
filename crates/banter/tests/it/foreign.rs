//! Clients that are not ours: what the documents say is enough to talk to a server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::fixture::Fixture;
use crate::support::message::{fresh_id, words};

/// Where `make test` installs them.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Whether a client is installed. Where `make test` runs the tests, it must be.
fn is_installed(needed: &Path) -> bool {
    let installed = needed.exists();
    if !installed {
        let must = std::env::var_os("BANTER_TEST_CLIENTS").is_some();
        assert!(!must, "{} is missing", needed.display());
        eprintln!(
            "skipped: {} is missing; make test installs it",
            needed.display()
        );
    }
    installed
}

/// A client talks to `ann`, breaks off, misses fifty messages, and comes back.
fn talks(command: &mut Command) {
    let chat = Fixture::new();
    let [ann, guest] = chat.people(["ann", "guest"]);
    let channel = ann.create("lounge");
    guest.join(&channel);
    let url = chat.base_url().replacen("http", "ws", 1) + "/v1/connect";
    let mut child = command
        .args([&url, &guest.token, &channel])
        .current_dir(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut step = |name: &str| {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("it ended before {name}"));
        let facts: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
        assert_eq!(facts["step"], name);
        facts["seq"].as_u64().expect("a number")
    };
    let sent = step("sent");
    let said = ann.post(&channel, &fresh_id(), &words("hello")).ok(201);
    writeln!(input).expect("it listens");
    assert_eq!(said["seq"], step("dropped"));
    for number in 0..50 {
        ann.post(&channel, &fresh_id(), &words(number)).ok(201);
    }
    writeln!(input).expect("it listens");
    let head = step("resumed");
    assert_eq!(
        Value::from(head),
        ann.page(&channel, "limit=1")["items"][0]["seq"]
    );
    assert!(child.wait().expect("it ends").success());
    let page = ann.page(&channel, &format!("around={sent}&limit=1"));
    assert_eq!(page["items"][0]["body"], "murmur é漢👋");
    assert_eq!(page["items"][0]["author"], "guest");
}

#[test]
fn python_websockets() {
    let python = folder().join(".venv/bin/python");
    if is_installed(&python) {
        talks(Command::new(python).arg("talk.py"));
    }
}

#[test]
fn npm_ws() {
    if is_installed(&folder().join("node_modules/ws")) {
        talks(Command::new("node").arg("talk.mjs"));
    }
}
