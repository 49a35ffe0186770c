//! `banter stress` from outside: whatever is starved is named, beside a busy machine too.
//!
//! A verdict rests on what the kernel counts of each process, so these tests need no quiet machine.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;

use super::child_with;
use super::cluster::Cluster;
use crate::cluster::installed;
use crate::support::{Ran, banter, run};

/// Longest stress.
const STRESS_MAX: Duration = Duration::from_secs(240);

/// A stress of a small room, with more arguments.
fn stress(dir: &Path, arguments: &[&str]) -> Child {
    let small = [
        "stress",
        "--profile",
        "room",
        "--warm-up",
        "0s",
        "--json",
        "stress.json",
    ];
    let mut command = banter(dir, &[&small, arguments].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

/// Waits for its end, and harms meanwhile; what it found.
fn found(dir: &Path, mut child: Child, mut harm: impl FnMut(u32)) -> (Ran, Value) {
    let begun = Instant::now();
    while child.try_wait().expect("it is ours").is_none() {
        harm(child.id());
        assert!(begun.elapsed() < STRESS_MAX, "it does not end");
    }
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    let report = fs::read(dir.join("stress.json"));
    let report = report.unwrap_or_else(|_| panic!("no report: {}{}", ran.stderr, ran.stdout));
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    for run in report["runs"].as_array().expect("runs") {
        assert_eq!(run["audit"]["violations"], 0, "{}", ran.stdout);
    }
    (ran, report["stress"].clone())
}

/// Lets a child of a stress run for a fifth of the time only.
fn hold(parent: u32, argument: &str) {
    let Some(pid) = child_with(parent, argument) else {
        return std::thread::sleep(Duration::from_millis(5));
    };
    for (signal, ms) in [(Signal::STOP, 400), (Signal::CONT, 100)] {
        // It ends before the one that started it does.
        let _ = kill_process(pid, signal);
        std::thread::sleep(Duration::from_millis(ms));
    }
}

/// Arguments of a stress that nobody keeps who runs for a fifth of the time.
const QUICK: [&str; 9] = [
    "--embedded",
    "--users",
    "4",
    "--rate",
    "20",
    "--duration",
    "2s",
    "--slo",
    "ack_p90<150ms",
];

#[test]
fn a_server_that_is_kept_from_running_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let child = stress(dir.path(), &QUICK);
    let (ran, found) = found(dir.path(), child, |stress| hold(stress, "serve"));
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert_eq!(
        found["limit"]["resource"], "CPU of banter",
        "{}",
        ran.stdout
    );
    let named = "first to give out: CPU of banter (it was kept from running";
    assert!(ran.stdout.contains(named), "{}", ran.stdout);
    assert_eq!(found["failure"], "slower: everything came, late");
}

#[test]
fn a_generator_that_is_kept_from_running_is_no_limit_of_the_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let child = stress(dir.path(), &QUICK);
    let (ran, found) = found(dir.path(), child, |stress| hold(stress, "--generator"));
    assert_eq!(ran.code, Some(4), "{}", ran.stdout);
    assert_eq!(found["limit"]["resource"], "generator", "{}", ran.stdout);
    assert!(ran.stdout.contains("INVALID"), "{}", ran.stdout);
}

#[test]
fn descriptors_that_end_are_named_and_people_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let people = [
        "--embedded",
        "--raise",
        "users",
        "--users",
        "20",
        "--rate",
        "10",
    ];
    let wide = ["--duration", "2s", "--slo", "ack_p99<60s,errors<1%"];
    let child = stress(dir.path(), &[&people[..], &wide].concat());
    let few = Rlimit {
        current: Some(70),
        maximum: Some(70),
    };
    let mut limited = None;
    let (ran, found) = found(dir.path(), child, |stress| {
        if limited.is_none() {
            limited = child_with(stress, "serve");
            if limited.is_some() {
                prlimit(limited, Resource::Nofile, few).expect("it is ours");
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    });
    let resource = "file descriptors of banter";
    assert_eq!(found["limit"]["resource"], resource, "{}", ran.stdout);
    assert_eq!(found["failure"], "refused: it said no", "{}", ran.stdout);
    assert_eq!(found["recovered"], true, "{}", ran.stdout);
    // So many had room, and that was confirmed.
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("sustained: "), "{}", ran.stdout);
}

#[test]
fn where_nothing_is_starved_nothing_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let gentle = [
        "--embedded",
        "--users",
        "4",
        "--rate",
        "10",
        "--up-to",
        "20",
    ];
    let wide = ["--duration", "2s", "--slo", "ack_p90<60s,errors<1%"];
    let child = stress(dir.path(), &[&gentle[..], &wide].concat());
    let (ran, found) = found(dir.path(), child, |_| {
        std::thread::sleep(Duration::from_millis(50));
    });
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert_eq!(found["limit"], Value::Null, "{}", ran.stdout);
    assert!(ran.stdout.contains("it did not break"), "{}", ran.stdout);
    assert!(ran.stdout.contains("sustained: 4 users"), "{}", ran.stdout);
}

/// Has the database of a cluster think for so long about each batch of entries.
fn slow_down(cluster: &Path, seconds: u32) {
    let config = fs::read_to_string(cluster.join("banter.toml")).expect("a configuration");
    let mut urls = config
        .lines()
        .filter_map(|line| line.strip_prefix("url = "));
    let url = urls
        .find(|url| url.contains("postgres://"))
        .expect("a database");
    let sql = format!(
        "CREATE FUNCTION think() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END'; \
         CREATE TRIGGER think BEFORE INSERT ON entries \
         FOR EACH STATEMENT EXECUTE FUNCTION think()"
    );
    let mut psql = Command::new("psql");
    psql.arg(url.trim_matches('"'))
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-c", &sql]);
    assert!(psql.status().expect("psql").success());
}

#[test]
fn a_slow_database_is_named_although_acks_are_quick() {
    if !installed() {
        return;
    }
    let cluster = Cluster::start();
    let dir = cluster.dir.path();
    let there = ["--cluster", "--data-dir", "cluster", "--users", "4"];
    let wide = ["--slo", "ack_p90<60s,errors<50%"];
    let seed = [
        "load",
        "--profile",
        "room",
        "--rate",
        "5",
        "--duration",
        "1s",
    ];
    assert_eq!(run(dir, &[&seed[..], &there, &wide].concat()).code, Some(0));
    slow_down(&dir.join("cluster"), 6);
    let more = ["--rate", "16", "--duration", "8s"];
    let child = stress(dir, &[&there[..], &wide, &more].concat());
    let (ran, found) = found(dir, child, |_| {
        std::thread::sleep(Duration::from_millis(50))
    });
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let resource = "PostgreSQL (workers wait for it)";
    assert_eq!(found["limit"]["resource"], resource, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("queue_age<5s: it was"),
        "{}",
        ran.stdout
    );
}
