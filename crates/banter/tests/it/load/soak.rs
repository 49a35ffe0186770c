//! `banter load soak` from outside: a server whose descriptors are taken one by one.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::child_with;
use crate::support::{PATIENCE, Ran, banter};

/// Where a server that was started for a load listens.
fn listener_of(server: rustix::process::Pid) -> Option<SocketAddr> {
    let pid = server.as_raw_nonzero();
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = arguments.split('\0');
    arguments.find(|argument| *argument == "--listen")?;
    arguments.next()?.parse().ok()
}

#[test]
fn descriptors_that_are_never_closed_fail_a_soak() {
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = [
        "load",
        "soak",
        "--for",
        "14s",
        "--warm-up",
        "1s",
        "--embedded",
        "--profile",
        "room",
        "--users",
        "5",
        "--rate",
        "10",
        "--slo",
        "errors<50%",
        "--json",
        "soak.json",
        "--html",
        "soak.html",
    ];
    let mut command = banter(dir.path(), &arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let begun = Instant::now();
    let mut held = Vec::new();
    while child.try_wait().expect("it is ours").is_none() {
        assert!(begun.elapsed() < PATIENCE * 3, "it does not end");
        let server = child_with(child.id(), "serve").and_then(listener_of);
        // A connection on which nothing is asked is closed after a while, not so soon.
        held.extend(server.and_then(|address| TcpStream::connect(address).ok()));
        std::thread::sleep(Duration::from_millis(200));
    }
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let report = fs::read(dir.path().join("soak.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let followed = report["runs"][0]["followed"].as_array().expect("rows");
    let of = |quantity: &str| {
        let mut rows = followed.iter();
        rows.find(|row| row["quantity"] == quantity).expect("a row")
    };
    let files = of("files");
    assert_eq!(
        (&files["name"], &files["course"]),
        (&"banter".into(), &"rises".into())
    );
    // Five a second, give or take what a busy machine does to this test.
    let slope = files["trend"]["per_hour"].as_f64().expect("a slope") / 3_600.0;
    assert!((1.0..6.0).contains(&slope), "{slope}");
    assert_eq!(of("load")["name"], "machine");
    assert!(of("memory")["trend"]["high"].is_f64(), "{followed:#?}");
    assert!(
        ran.stdout.contains("files of banter rises: +"),
        "{}",
        ran.stdout
    );
    let page = fs::read_to_string(dir.path().join("soak.html")).expect("a page");
    assert!(
        page.contains("RISES") && page.contains("Open files"),
        "{page}"
    );
}
