//! `banter load` from outside: a short load on a server of its own, and on one that is there.

mod cluster;
mod proxy;
mod soak;
mod stress;
mod tls;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
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
    assert!(load(&[]).contains("--embedded, --server URL or --cluster"));
    let line = load(&["--embedded", "--profile", "rome"]);
    assert!(line.contains("rome") && line.contains("rooms"), "{line}");
    assert!(load(&["--embedded", "--slo", "ack_p98<1s"]).contains("ack_p98<1s"));
    assert!(load(&["--embedded", "--duration", "soon"]).contains("soon"));
    assert!(load(&["--print-profile", "rome"]).contains("rome"));
    assert!(load(&["--server", "ftp://chat.example"]).contains("https://"));
    assert!(load(&["--embedded", "--gateways", "2"]).contains("--cluster"));
    let away = run(dir.path(), &["load", "--server", "http://127.0.0.1:1"]);
    assert!(away.failed().contains("cannot reach"));
    // A process may have fewer files than its people have sockets.
    let program = banter(dir.path(), &[]).get_program().to_owned();
    for arguments in [
        "load --embedded",
        "load soak --embedded",
        "stress --embedded",
    ] {
        let mut limited = std::process::Command::new("sh");
        let script = format!("ulimit -n 300 && exec \"$0\" {arguments} --users 1000");
        limited.args(["-c", &script]).arg(&program);
        let ran = Ran::from(limited.current_dir(dir.path()).output().expect("it starts"));
        let line = ran.failed();
        assert!(
            line.contains("open files") && line.contains("ulimit -Hn"),
            "{line}"
        );
    }
}

/// The child of a process that was started with this argument.
fn child_with(parent: u32, argument: &str) -> Option<Pid> {
    let read = |pid: &str, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let pids = fs::read_dir("/proc").expect("processes").flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    let found = pids.find(|pid| {
        let stat = read(pid, "stat").unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let of = fields.split_ascii_whitespace().nth(1);
        let arguments = read(pid, "cmdline").unwrap_or_default();
        of == Some(&parent.to_string()) && arguments.split('\0').any(|given| given == argument)
    });
    Pid::from_raw(found?.parse().ok()?)
}

#[test]
fn a_server_that_stands_still_is_seen_to_recover() {
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = [
        "--embedded",
        "--profile",
        "room",
        "--users",
        "5",
        "--rate",
        "20",
    ];
    let fault = [
        "--fault",
        "stop:banter@1s+1s",
        "--slo",
        "errors<50%",
        "--duration",
        "7s",
    ];
    let file = dir.path().join("fault.json");
    let page = dir.path().join("fault.html");
    let files = [
        "--json",
        "fault.json",
        "--html",
        "fault.html",
        "--warm-up",
        "1s",
    ];
    let ran = run(
        dir.path(),
        &[&["load"][..], &arguments, &fault, &files].concat(),
    );
    assert_eq!(ran.code, Some(0), "{}{}", ran.stderr, ran.stdout);
    let report: Value = serde_json::from_slice(&fs::read(&file).expect("a report")).expect("JSON");
    let run_of = &report["runs"][0];
    assert_eq!(run_of["audit"]["violations"], 0);
    assert_eq!(run_of["marks"][0]["text"], "stop banter for 1s");
    assert_eq!(run_of["marks"][0]["healed"], 3);
    // What was sent meanwhile waited for a second, and nobody has slowed down for it.
    let rows = run_of["times"].as_array().expect("rows");
    let ack = rows
        .iter()
        .find(|row| row["measure"] == "ack")
        .expect("acks");
    assert!(ack["ms"][5].as_f64().expect("a time") > 900.0, "{ack}");
    assert!(ran.stdout.contains("well again"), "{}", ran.stdout);
    let page = fs::read_to_string(page).expect("a page");
    assert!(page.contains("<svg") && page.contains("stop banter for 1s"));
    // Nothing of it is elsewhere.
    assert_eq!(
        page.matches("src=").count() + page.matches("href=").count(),
        0
    );
    let same = run(dir.path(), &["load", "compare", "fault.json", "fault.json"]).succeeded();
    assert!(
        same.contains("deliveries/s") && same.contains("1.00"),
        "{same}"
    );
    assert!(!same.contains("beyond"), "{same}");
}

/// A command that is interrupted once it has said something; what it left in `cut.json`.
fn interrupted(dir: &std::path::Path, arguments: &[&str], said: &str) -> (Ran, Value) {
    let mut command = banter(dir, &[arguments, &["--json", "cut.json"]].concat());
    command.env("XDG_STATE_HOME", dir);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(said)), "it ended early");
    std::thread::spawn(move || lines.for_each(drop));
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::INT).expect("it is ours");
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(4), "{}", ran.stdout);
    let report = fs::read(dir.join("cut.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["verdict"], "INVALID");
    assert_eq!(report["runs"][0]["audit"]["violations"], 0);
    (ran, report)
}

#[test]
fn whenever_it_is_interrupted_there_is_a_report() {
    let dir = tempfile::tempdir().expect("a directory");
    let room = ["--embedded", "--profile", "room", "--users", "4"];
    let long = ["--rate", "20", "--duration", "10m", "--warm-up", "0s"];
    let load = [&["load"], &room[..], &long].concat();
    let (ran, _) = interrupted(dir.path(), &load, "sent/s");
    assert!(
        ran.stdout.contains("stopped before its time"),
        "{}",
        ran.stdout
    );
    let stress = [&["stress"], &room[..], &long].concat();
    let (ran, report) = interrupted(dir.path(), &stress, "sent/s");
    assert!(
        ran.stdout.contains("stopped before it was done"),
        "{}",
        ran.stdout
    );
    assert_eq!(report["stress"]["confirmed"], Value::Null);
    // While accounts are made nothing is measured yet, and that is told.
    let server = Server::start();
    let there = ["load", "--server", server.url(), "--users", "3000"];
    let (ran, _) = interrupted(dir.path(), &there, "accounts");
    let told = "stopped before anything was measured";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
}

#[test]
fn a_hundred_times_the_people_are_carried() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = run(dir.path(), &["load", "--print-profile", "community"]).succeeded();
    // More of the same within seconds, and fewer channels to be joined before.
    let text = text.replace("per_user = 0.00874", "per_user = 0.1");
    let text = text.replace("memberships = 8", "memberships = 2");
    fs::write(dir.path().join("small.toml"), text).expect("written");
    let arguments = [
        "load",
        "--embedded",
        "--profile",
        "small.toml",
        "--users",
        "20",
    ];
    let scale = ["--scale", "1,100", "--duration", "3s", "--warm-up", "1s"];
    let wide = ["--slo", "history_p99<60s,errors<1%", "--json", "scale.json"];
    let ran = run(dir.path(), &[&arguments[..], &scale, &wide].concat());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stderr, ran.stdout);
    let report = fs::read(dir.path().join("scale.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let runs = report["runs"].as_array().expect("runs");
    let users: Vec<_> = runs
        .iter()
        .filter_map(|run| run["users"].as_u64())
        .collect();
    assert_eq!(users, [20, 2_000]);
    assert_eq!(runs[1]["audit"]["violations"], 0);
    assert!(runs[1]["bytes_per_socket"].is_f64(), "{}", ran.stdout);
    let table = [
        "20 users",
        "2,000 users",
        "cores per 1,000 users",
        "memory of a socket",
    ];
    assert!(
        table.iter().all(|word| ran.stdout.contains(word)),
        "{}",
        ran.stdout
    );
}

#[test]
fn tokens_are_renewed_while_a_load_runs() {
    // Shorter than what a load wants to have left: everybody's is renewed all the time.
    let server = Server::start_with(&[("BANTER_AUTH__ACCESS_TOKEN_TTL", "30s")]);
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = [
        "--server",
        server.url(),
        "--profile",
        "room",
        "--users",
        "3",
    ];
    let (_, report) = load(dir.path(), &arguments);
    let rows = report["times"].as_array().expect("rows");
    let renewed = rows.iter().find(|row| row["measure"] == "refresh");
    assert!(
        renewed.is_some_and(|row| row["count"].as_u64() > Some(2)),
        "{report:#}"
    );
    assert_eq!(report["errors"], serde_json::json!({}));
}
