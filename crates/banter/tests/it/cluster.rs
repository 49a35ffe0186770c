//! The supervisor behind `banter cluster`, as far as it needs no cluster: the rest is in the
//! modules below.

mod faults;
mod life;
mod observed;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::json;
use tempfile::tempdir;

use crate::support::run;

/// Whether the servers that a cluster needs are there.
pub(crate) fn installed() -> bool {
    let has = |program: &str| {
        let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
        folders
            .iter()
            .any(|folder| Path::new(folder).join(program).exists())
    };
    let found = has("redis-server") && has("nginx") && Path::new("/usr/lib/postgresql").exists();
    if !found {
        eprintln!(
            "skipped: redis-server, postgresql or nginx is missing (make test installs them)"
        );
        let demanded = std::env::var_os("BANTER_TEST_CLIENTS").is_some();
        assert!(!demanded, "a server is missing");
    }
    found
}

#[test]
fn without_a_cluster_every_command_says_so() {
    let dir = tempdir().unwrap();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["kill", "redis"],
        &["restart", "gateways"],
        &["scale", "gateways", "4"],
        &["drain", "gateway-1"],
        &["down"],
    ] {
        let arguments = [&["cluster"], arguments, &["--data-dir", "nowhere"]].concat();
        let line = run(dir.path(), &arguments).failed();
        assert!(line.contains("no cluster runs in"), "{line}");
        assert!(line.contains("banter cluster up"), "{line}");
    }
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn counts_that_make_no_cluster_are_refused() {
    let dir = tempdir().unwrap();
    for (arguments, culprit) in [
        (&["cluster"][..], "subcommand"),
        (&["cluster", "up", "--gateways", "0"], "--gateways"),
        (&["cluster", "up", "--workers", "1000"], "--workers"),
        (&["cluster", "up", "--public-url", "chat"], "--public-url"),
        (&["cluster", "scale", "redis", "2"], "redis"),
        (
            &["cluster", "scale", "gateways", "0"],
            "at least one gateway",
        ),
        (&["cluster", "kill"], "<NAME>"),
    ] {
        let line = run(dir.path(), arguments).refused();
        assert!(line.contains(culprit), "{arguments:?}: {line}");
    }
}

#[test]
fn what_is_missing_is_named_with_the_way_to_get_it() {
    let dir = tempdir().unwrap();
    let arguments = [
        "cluster",
        "up",
        "--data-dir",
        "c",
        "--redis-server",
        "/none/valkey",
    ];
    let line = run(dir.path(), &arguments).failed();
    assert!(line.contains("/none/valkey"), "{line}");
    assert!(!dir.path().join("c").exists());
}

/// A process in a group of its own that would never end. Dropped, it is killed.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("1000").process_group(0).spawn().unwrap())
    }

    /// Its id, and when it started.
    fn identity(&self) -> (u32, u64) {
        let pid = self.0.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        (pid, rest.split(' ').nth(19).unwrap().parse().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn leftovers_are_ended_and_nobody_else() {
    if !installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let cluster = dir.path().join("cluster");
    fs::create_dir(&cluster).unwrap();
    let [mut left, mut recycled, mut older] = [(); 3].map(|()| Sleeper::start());
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let write = |boot: &str, processes: &[(&str, (u32, u64))]| {
        let processes: BTreeMap<_, _> = processes
            .iter()
            .map(|(name, (pid, started))| (name, json!({"pid": pid, "started": started})))
            .collect();
        let record = json!({"boot": boot, "url": "", "ports": {}, "processes": processes});
        fs::write(cluster.join("cluster.json"), record.to_string()).unwrap();
    };
    // It gets no further than to its own address, which is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let up = || {
        let arguments = [
            "cluster",
            "up",
            "--data-dir",
            "cluster",
            "--listen",
            &listen,
        ];
        let ran = run(dir.path(), &arguments);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("another program is using it"),
            "{}",
            ran.stderr
        );
        ran.stderr
    };

    write(
        "another start of the machine",
        &[("gateway-1", older.identity())],
    );
    up();
    assert!(!older.has_ended());

    let (pid, started) = recycled.identity();
    write(
        boot.trim(),
        &[
            ("gateway-1", left.identity()),
            ("gateway-2", (pid, started - 1)),
        ],
    );
    let status = ["cluster", "status", "--data-dir", "cluster"];
    let line = run(dir.path(), &status).failed();
    assert!(line.contains("gateway-1 still run"), "{line}");
    assert!(!line.contains("gateway-2"), "{line}");
    let said = up();
    assert!(left.has_ended());
    assert!(!recycled.has_ended());
    assert!(said.contains("gateway-1 (process"), "{said}");
    assert!(!said.contains("gateway-2"), "{said}");

    fs::write(cluster.join("cluster.json"), "{\"boot\": 7, torn").unwrap();
    up();
}
