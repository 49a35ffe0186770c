//! `banter load` from outside: a short load on a server of its own, and on one that is there.

use std::fs;

use serde_json::Value;

use crate::support::{Ran, Server, banter, run};

/// Runs a load of a few seconds; gives its exit code and its report.
fn load(dir: &std::path::Path, arguments: &[&str]) -> (i32, Value) {
    let file = dir.join("report.json");
    let file = file.to_str().expect("UTF-8");
    let short = [
        "load",
        "--duration",
        "2s",
        "--warm-up",
        "1s",
        "--json",
        file,
    ];
    let mut command = banter(dir, &[&short, arguments].concat());
    command.env("XDG_STATE_HOME", dir);
    let ran = Ran::from(command.output().expect("it starts"));
    let code = ran.code.expect("it ends by itself");
    // A shared machine may be too busy for a verdict; what was found is the same.
    assert!(code == 0 || code == 4, "{}{}", ran.stderr, ran.stdout);
    let report = fs::read(file).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let word = report["verdict"].as_str().expect("a word");
    assert!(ran.stdout.contains(word), "{}", ran.stdout);
    assert_eq!(report["version"], 1);
    let run = report["runs"][0].clone();
    assert_eq!(run["audit"]["violations"], 0, "{}", ran.stdout);
    (code, run)
}

#[test]
fn a_load_is_put_audited_and_judged() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let wide = "delivery_p99<60s,errors<50%";
    let arguments = [
        "--embedded",
        "--data-dir",
        data,
        "--profile",
        "room",
        "--users",
        "8",
        "--rate",
        "20",
        "--generators",
        "2",
        "--slo",
        wide,
    ];
    let (code, report) = load(dir.path(), &arguments);
    assert_eq!(code, 0, "{report:#}");
    let audit = &report["audit"];
    let sent = audit["sent"].as_u64().expect("a number");
    assert!((55..=62).contains(&sent), "three seconds of 20: {audit}");
    assert_eq!(audit["acked"], sent);
    assert_eq!(audit["deliveries"], sent * 8);
    assert_eq!(audit["entries"], sent);
    assert_eq!(report["generators"], 2);
    assert_eq!(report["processes"][0]["name"], "banter");
    // The same accounts and channels again, and a demand that nobody can meet.
    let mut again = arguments;
    again[12] = "delivery_p99<1us";
    let file = dir.path().join("again.json");
    let last = ["load", "--duration", "1s", "--warm-up", "0s", "--json"];
    let last = [&last[..], &[file.to_str().expect("UTF-8")], &again[..]].concat();
    let ran = run(dir.path(), &last);
    assert!(
        matches!(ran.code, Some(3 | 4)),
        "{}{}",
        ran.stderr,
        ran.stdout
    );
    assert!(ran.stdout.contains("MISSED"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("memberships"), "{}", ran.stderr);
}

#[test]
fn people_read_reconnect_and_log_in_on_a_server_that_is_there() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let profile = dir.path().join("busy.toml");
    let text = run(dir.path(), &["load", "--print-profile", "community"]).succeeded();
    let text = text.replace("per_user = 0.00874", "per_user = 10.0");
    let text = text.replace("reconnect = 0.144", "reconnect = 2.0");
    fs::write(&profile, text.replace("login = 0.0006", "login = 0.2")).expect("written");
    let profile = profile.to_str().expect("UTF-8");
    let url = server.url().to_owned();
    let arguments = ["--server", &url, "--profile", profile, "--users", "6"];
    let (_, report) = load(dir.path(), &arguments);
    let measures = report["times"].as_array().expect("rows").iter();
    let measures: Vec<_> = measures.filter_map(|row| row["measure"].as_str()).collect();
    for measure in ["ack", "delivery", "connect", "history", "channels", "login"] {
        assert!(measures.contains(&measure), "{measure} not in {measures:?}");
    }
    assert_eq!(report["errors"], serde_json::json!({}));
}

#[test]
fn wrong_usage_is_told_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let load = |arguments: &[&str]| run(dir.path(), &[&["load"], arguments].concat()).refused();
    assert!(load(&[]).contains("--embedded or --server"));
    let line = load(&["--embedded", "--profile", "rome"]);
    assert!(line.contains("rome") && line.contains("rooms"), "{line}");
    assert!(load(&["--embedded", "--slo", "ack_p98<1s"]).contains("ack_p98<1s"));
    assert!(load(&["--embedded", "--duration", "soon"]).contains("soon"));
    assert!(load(&["--print-profile", "rome"]).contains("rome"));
    assert!(load(&["--server", "https://chat.example"]).contains("http://"));
    let away = run(dir.path(), &["load", "--server", "http://127.0.0.1:1"]);
    assert_eq!(away.code, Some(1));
    assert!(away.stderr.contains("cannot reach"), "{}", away.stderr);
}
