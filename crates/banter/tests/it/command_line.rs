//! Commands: what they print, how they end, and that what goes wrong is said in one line.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Server, banter, run, run_with_input};

#[test]
fn wrong_usage_ends_with_2_and_names_the_culprit() {
    let dir = tempdir().unwrap();
    for (arguments, culprit) in [
        (&[][..], "subcommand"),
        (&["dance"], "dance"),
        (&["serve", "--frob"], "--frob"),
        (&["serve", "--listen"], "--listen"),
        (&["serve", "--listen", "8080"], "--listen"),
        (&["serve", "--admin-listen", "localhost"], "--admin-listen"),
        (&["serve", "--public-url", "chat.example"], "--public-url"),
        (&["serve", "--registration", "maybe"], "--registration"),
        (&["serve", "--data-dir", ""], "--data-dir"),
        (&["serve", "everything"], "auth, gateway or worker"),
        (&["user"], "subcommand"),
        (&["user", "add"], "<NAME>"),
        (&["user", "add", "a b"], "a b"),
        (&["user", "disable", "x"], "'x'"),
        (&["user", "list", "--yaml"], "--yaml"),
        (&["config", "extra"], "extra"),
        (&["keys"], "subcommand"),
        (&["keys", "rotate", "now"], "now"),
        (&["webhook"], "subcommand"),
        (&["webhook", "create", "#ops"], "<NAME>"),
        (&["webhook", "create", "#ops", "a b"], "a b"),
        (&["completions", "tcsh"], "tcsh"),
    ] {
        let line = run(dir.path(), arguments).refused();
        assert!(line.contains(culprit), "{arguments:?}: {line}");
    }
}

#[test]
fn help_and_version_are_answers() {
    let dir = tempdir().unwrap();
    let version = run(dir.path(), &["--version"]).succeeded();
    assert_eq!(version, format!("banter {}\n", env!("CARGO_PKG_VERSION")));
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["user", "add", "--help"],
        &["webhook", "create", "--help"],
    ] {
        let help = run(dir.path(), command).succeeded();
        assert!(help.contains("Usage: banter"), "{help}");
        assert!(help.contains("Examples:"), "{help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(dir.path(), &["completions", shell]).succeeded();
        assert!(script.contains("banter"), "{script}");
    }
}

#[test]
fn the_configuration_is_explained() {
    let dir = tempdir().unwrap();
    let default = run(dir.path(), &["config", "--default"]).succeeded();
    fs::write(dir.path().join("banter.toml"), default).unwrap();
    let mut command = banter(dir.path(), &["config", "--config", "banter.toml"]);
    command.env("BANTER_AUTH__SECRET", "0123456789abcdef0123456789abcdef");
    command.args(["--data-dir", "elsewhere"]);
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap();
    assert!(
        line("data_dir = ").ends_with("# flag --data-dir"),
        "{shown}"
    );
    assert!(line("listen = ").ends_with("# file banter.toml"), "{shown}");
    assert!(
        line("secret").ends_with("# environment BANTER_AUTH__SECRET"),
        "{shown}"
    );
    assert!(!shown.contains("0123456789"), "{shown}");
    toml::from_str::<toml::Table>(&shown).unwrap();
}

#[test]
fn an_ill_configuration_is_one_line() {
    let dir = tempdir().unwrap();
    let line = run(dir.path(), &["serve", "--config", "missing.toml"]).failed();
    assert!(line.contains("missing.toml"), "{line}");
    for (text, culprit) in [
        ("[server]\nlissten = \"x\"", "server.lissten"),
        ("[auth]\naccess_token_ttl = 10", "auth.access_token_ttl"),
        ("[limits\n", "line 1"),
        ("[database]\nurl = \"mysql://db\"", "postgres://"),
    ] {
        fs::write(dir.path().join("ill.toml"), text).unwrap();
        let line = run(dir.path(), &["config", "--config", "ill.toml"]).failed();
        assert!(
            line.contains("ill.toml") && line.contains(culprit),
            "{line}"
        );
    }
    fs::write(dir.path().join("binary.toml"), [0xff, 0xfe]).unwrap();
    run(dir.path(), &["config", "--config", "binary.toml"]).failed();
    let mut command = banter(dir.path(), &["config"]);
    let output = command.env("BANTER_LIMITS__SPEED", "1").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("BANTER_LIMITS__SPEED"), "{stderr}");
}

#[test]
fn accounts_are_made_before_the_first_start() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    assert!(run(dir, &["user", "list"]).failed().contains("no database"));
    run_with_input(dir, &["user", "add", "Ann"], "correct horse\n").succeeded();
    let taken = run_with_input(dir, &["user", "add", "ann"], "correct horse\n").failed();
    assert!(taken.contains("ann is taken"), "{taken}");
    for weak in ["1234567\n", "password\n", "\n"] {
        let refused = run_with_input(dir, &["user", "add", "bob"], weak).failed();
        assert!(refused.contains("at least 8 characters"), "{refused}");
    }
    let refused = run(dir, &["user", "add", "bob"]).failed();
    assert!(refused.contains("standard input"), "{refused}");

    let listed = run(dir, &["user", "list", "--json"]).succeeded();
    let account: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&account["username"], &account["disabled"]),
        (&"ann".into(), &false.into())
    );
    assert_eq!(account["id"].as_str().unwrap().len(), 36);
    assert!(account["created_at"].as_str().unwrap().ends_with('Z'));

    run(dir, &["user", "disable", "ann"]).succeeded();
    run(dir, &["user", "disable", "ANN"]).succeeded();
    assert!(run(dir, &["user", "list"]).succeeded().contains("disabled"));
    run(dir, &["user", "enable", "ann"]).succeeded();
    assert!(run(dir, &["user", "list"]).succeeded().contains("enabled"));
    assert!(
        run(dir, &["user", "disable", "bob"])
            .failed()
            .contains("no account bob")
    );
}

#[test]
fn signing_keys_are_rotated_and_replaced() {
    let dir = tempdir().unwrap();
    let keys = || {
        let listed = run(dir.path(), &["keys", "list"]).succeeded();
        ["active", "next", "retired"].map(|state| {
            let lines = listed.lines().filter(|line| line.contains(state));
            lines
                .map(|line| line.split(' ').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
    };
    run(dir.path(), &["keys", "rotate"]).succeeded();
    let [active, next, retired] = keys();
    assert_eq!((active.len(), next.len(), retired.len()), (1, 1, 1));
    run(dir.path(), &["keys", "rotate"]).succeeded();
    let [now_active, _, now_retired] = keys();
    assert_eq!(now_active, next);
    assert!(now_retired.contains(&active[0]) && now_retired.contains(&retired[0]));
    run(dir.path(), &["keys", "rotate", "--compromised"]).succeeded();
    let [active, next, retired] = keys();
    assert_eq!((active.len(), next.len(), retired.len()), (1, 1, 0));
    assert!(!active.contains(&now_active[0]) && !next.contains(&now_active[0]));
}

#[test]
fn what_is_made_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempdir().unwrap();
    run_with_input(dir.path(), &["user", "add", "ann"], "correct horse\n").succeeded();
    let data_dir = dir.path().join("banter-data");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&data_dir) & 0o077, 0);
    for entry in fs::read_dir(&data_dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_server_prints_one_line_and_stops_when_asked() {
    let server = Server::start();
    assert!(
        server.greeting.contains("http://127.0.0.1:"),
        "{}",
        server.greeting
    );
    let (_, port) = server.url().rsplit_once(':').unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    server.signal(Signal::TERM);
    let (status, more) = server.wait();
    assert_eq!((status.code(), more.as_str()), (Some(0), ""));
}

#[test]
fn ctrl_c_stops_it_too() {
    let server = Server::start();
    server.signal(Signal::INT);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempdir().unwrap();
    let ports = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let mut command = banter(dir.path(), &ports);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let greeting = lines.next().unwrap().unwrap();
    let (_, address) = greeting.rsplit_once("//").unwrap();
    // A request that never ends holds the drain up, once the server has asked for its body.
    let mut dawdler = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/auth/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    dawdler.write_all(head.as_bytes()).unwrap();
    let mut goes_on = String::new();
    BufReader::new(&dawdler).read_line(&mut goes_on).unwrap();
    assert_eq!(goes_on, "HTTP/1.1 100 Continue\r\n");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    kill_process(pid.unwrap(), Signal::TERM).unwrap();
    assert!(log.any(|line| line.unwrap().contains("draining")));
    kill_process(pid.unwrap(), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said = log.last().unwrap().unwrap();
    assert!(said.starts_with("banter: stopped at once"), "{said}");
}

#[test]
fn a_second_server_on_the_directory_is_refused() {
    let server = Server::start();
    let second = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let line = run(server.dir(), &second).failed();
    assert!(
        line.contains("banter-data") && line.contains("--data-dir"),
        "{line}"
    );
    // Commands about users work beside it.
    run_with_input(server.dir(), &["user", "add", "ann"], "correct horse\n").succeeded();
    // A server that was killed leaves nothing in the way.
    let dir = tempdir().unwrap();
    let killed = Server::start_in(dir.path(), &[]);
    killed.signal(Signal::KILL);
    killed.wait();
    Server::start_in(dir.path(), &[]).signal(Signal::TERM);
}

#[test]
fn a_taken_port_is_named() {
    let dir = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [
        ("--listen", "--admin-listen"),
        ("--admin-listen", "--listen"),
    ] {
        let line = run(dir.path(), &["serve", flag, &address, other, "127.0.0.1:0"]).failed();
        assert!(line.contains(&address) && line.contains(flag), "{line}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for place in ["file", "file/below"] {
        let arguments = [&["serve", "--data-dir", place], &ports[..]].concat();
        let line = run(dir.path(), &arguments).failed();
        assert!(
            line.contains(place) && line.contains("--data-dir"),
            "{line}"
        );
    }
    fs::create_dir(dir.path().join("banter-data")).unwrap();
    fs::write(
        dir.path().join("banter-data/banter.db"),
        "no database".repeat(1000),
    )
    .unwrap();
    let line = run(dir.path(), &[&["serve"], &ports[..]].concat()).failed();
    assert!(line.contains("banter.db"), "{line}");
}

#[test]
fn an_error_tells_its_cause_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir_all(dir.path().join("banter-data/secret.key")).expect("it is made");
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let line = run(dir.path(), &serve).failed();
    assert_eq!(line.matches("os error").count(), 1, "{line}");
    assert!(line.contains("secret.key cannot be used: "), "{line}");
}
