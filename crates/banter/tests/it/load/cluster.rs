//! Loads on a cluster: one that runs, and one that is started for it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::installed;
use crate::support::{PATIENCE, banter, run};

/// A directory that PostgreSQL, another user where we are root, can pass.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let open = fs::Permissions::from_mode(0o711);
    fs::set_permissions(dir.path(), open).expect("it is ours");
    dir
}

fn pid_of(child: &Child) -> Pid {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.expect("a process")
}

/// The first run of a report.
fn report(dir: &Path, name: &str) -> Value {
    let report = fs::read(dir.join(name)).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    report["runs"][0].clone()
}

/// A whole cluster on this machine. Dropped, it is asked to end.
pub(super) struct Cluster {
    child: Child,
    pub(super) dir: tempfile::TempDir,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let dir = directory();
        let up = [
            "cluster",
            "up",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            "cluster",
        ];
        let mut command = banter(dir.path(), &up);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let mut greeting = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut greeting).expect("a line");
        assert!(greeting.contains("serves"), "no cluster: {greeting}");
        Self { child, dir }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if kill_process(pid_of(&self.child), Signal::TERM).is_ok() {
            let _ = self.child.wait();
        }
    }
}

#[test]
fn a_gateway_that_is_killed_under_load_loses_nothing() {
    if !installed() {
        return;
    }
    let cluster = Cluster::start();
    let resized = run(
        cluster.dir.path(),
        &[&SHORT[..], &["1s", "--gateways", "3"]].concat(),
    );
    assert!(resized.refused().contains("banter cluster scale"));
    let arguments = [
        "load",
        "--cluster",
        "--data-dir",
        "cluster",
        "--profile",
        "room",
    ];
    let people = [
        "--users",
        "12",
        "--rate",
        "20",
        "--warm-up",
        "1s",
        "--duration",
        "9s",
    ];
    let fault = [
        "--fault",
        "kill:gateway-1@2s",
        "--slo",
        "errors<60%",
        "--json",
        "killed.json",
    ];
    let ran = run(
        cluster.dir.path(),
        &[&arguments[..], &people, &fault].concat(),
    );
    assert_eq!(ran.code, Some(0), "{}{}", ran.stderr, ran.stdout);
    let run_of = &report(cluster.dir.path(), "killed.json");
    assert_eq!(run_of["audit"]["violations"], 0, "{}", ran.stdout);
    assert_eq!(run_of["marks"][0]["text"], "kill gateway-1");
    let processes = run_of["processes"].as_array().expect("processes");
    for name in ["redis", "postgres", "gateway-2", "worker-1", "nginx"] {
        assert!(
            processes.iter().any(|process| process["name"] == name),
            "{name}"
        );
    }
    // Who was on it has come back to another one.
    let rows = run_of["times"].as_array().expect("rows");
    assert!(
        rows.iter().any(|row| row["measure"] == "connect"),
        "{run_of:#}"
    );
}

/// Arguments of a short load on a cluster in `cluster`, which is started where none runs.
const SHORT: [&str; 17] = [
    "load",
    "--cluster",
    "--data-dir",
    "cluster",
    "--profile",
    "room",
    "--users",
    "6",
    "--rate",
    "20",
    "--warm-up",
    "0s",
    "--slo",
    "errors<1%",
    "--json",
    "own.json",
    "--duration",
];

#[test]
fn a_cluster_is_started_for_a_load_and_ends_with_it() {
    if !installed() {
        return;
    }
    let dir = directory();
    let size = ["--gateways", "1", "--workers", "2"];
    let ran = run(dir.path(), &[&SHORT[..], &["2s"], &size].concat());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stderr, ran.stdout);
    assert!(
        ran.stderr.contains("starting a cluster in"),
        "{}",
        ran.stderr
    );
    let first = report(dir.path(), "own.json");
    assert_eq!(first["audit"]["violations"], 0);
    assert_eq!(first["audit"]["acked"], first["audit"]["sent"]);
    let processes = first["processes"].as_array().expect("processes").iter();
    let names: Vec<_> = processes
        .filter_map(|process| process["name"].as_str())
        .collect();
    let expected = [
        "redis",
        "postgres",
        "auth-1",
        "gateway-1",
        "worker-1",
        "worker-2",
        "nginx",
    ];
    assert_eq!(names, expected);
    let status = ["cluster", "status", "--data-dir", "cluster"];
    let gone = || run(dir.path(), &status).code != Some(0);
    assert!(gone(), "the cluster still runs");
    // Again, and whoever started it is killed: it ends all the same.
    let mut command = banter(dir.path(), &[&SHORT[..], &["10m"]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = Vec::new();
    for line in stderr.lines().map_while(Result::ok) {
        said.push(line);
        if said.last().is_some_and(|line| line.contains("sent/s")) {
            break;
        }
    }
    // The accounts and their channels are those of the first time.
    let said = said.join("\n");
    assert!(
        said.contains("sent/s") && !said.contains("memberships"),
        "{said}"
    );
    kill_process(pid_of(&child), Signal::KILL).expect("it is ours");
    child.wait().expect("it ends");
    let begun = Instant::now();
    while !gone() {
        assert!(begun.elapsed() < PATIENCE * 2, "the cluster still runs");
        std::thread::sleep(Duration::from_millis(100));
    }
}
