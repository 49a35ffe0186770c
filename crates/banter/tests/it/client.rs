//! `chat`, `send` and `tail`, as people and scripts use them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Ran, Server, banter, run, run_with_input};

/// A command whose output is read line by line while it runs. Dropped, it is killed.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (give, lines) = mpsc::sync_channel(0);
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if give.send(line.expect("UTF-8")).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn lines(&self, count: usize) -> Vec<String> {
        let next = |_| self.lines.recv_timeout(PATIENCE).expect("a line in time");
        (0..count).map(next).collect()
    }

    fn frames(&self, count: usize) -> Vec<Value> {
        let lines = self.lines(count);
        let frame = |line: &String| serde_json::from_str(line).expect("JSON");
        lines.iter().map(frame).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), signal).expect("it is ours");
    }

    /// Waits for its end.
    fn code(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody with an account, at a machine that keeps the session.
struct User<'a> {
    name: &'static str,
    dir: &'a Path,
    url: String,
}

impl<'a> User<'a> {
    /// Makes the account.
    fn new(server: &'a Server, name: &'static str) -> Self {
        let password = format!("correct horse {name}\n");
        run_with_input(server.dir(), &["user", "add", name], &password).succeeded();
        Self {
            name,
            dir: server.dir(),
            url: server.url().to_owned(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = banter(self.dir, arguments);
        command
            .env("XDG_STATE_HOME", self.dir.join("state"))
            .env("BANTER_SERVER", &self.url)
            .env("BANTER_USER", self.name)
            .env("BANTER_PASSWORD", format!("correct horse {}", self.name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("it starts")
    }

    fn follow(&self, arguments: &[&str]) -> Running {
        Running::new(self.start(arguments))
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.start(arguments);
        // A command that fails at once does not read its input.
        let _ = child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes());
        Ran::from(child.wait_with_output().expect("it ends"))
    }

    /// Makes a channel.
    fn create(&self, channel: &str) {
        let made = self.run(&["chat"], &format!("/create {channel}\n"));
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }

    /// The first entries of a channel, as frames.
    fn entries(&self, channel: &str, count: usize) -> Vec<Value> {
        let mut tail = self.follow(&["tail", channel, "--json", "--after", "0"]);
        let frames = tail.frames(count);
        tail.signal(Signal::INT);
        assert_eq!(tail.code(), Some(0));
        frames
    }
}

fn bodies(entries: &[Value]) -> Vec<&str> {
    entries
        .iter()
        .filter_map(|entry| entry["body"].as_str())
        .collect()
}

#[test]
fn what_is_sent_is_followed() {
    let server = Server::start();
    let (ann, bob) = (User::new(&server, "ann"), User::new(&server, "bob"));
    ann.create("#ops");
    ann.run(&["send", "#ops", "from an argument"], "")
        .succeeded();
    ann.run(&["send", "#ops"], "from a pipe,\ntwo lines\n")
        .succeeded();
    let sent = bob.run(&["send", "#ops", "--lines"], "one\n\n  \ntwo\r\nthree");
    assert_eq!(
        (sent.code, &*sent.stderr),
        (Some(0), "banter: joined #ops\n")
    );
    let entries = ann.entries("#ops", 7);
    let seqs: Vec<_> = entries.iter().map(|entry| entry["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=7).map(Some).collect::<Vec<_>>());
    let expected = [
        "from an argument",
        "from a pipe,\ntwo lines",
        "one",
        "two",
        "three",
    ];
    assert_eq!(bodies(&entries), expected);
    assert_eq!(entries[3]["type"], "joined");
    assert_eq!(entries[3]["user"], "bob");
}

#[test]
fn a_session_is_kept_for_its_owner_and_shared_by_many_commands() {
    let server = Server::start_with(&[("BANTER_AUTH__ACCESS_TOKEN_TTL", "1s")]);
    let ann = User::new(&server, "ann");
    ann.create("#ops");
    let kept = std::fs::read_dir(server.dir().join("state/banter")).unwrap();
    let file = kept
        .map(|dir| dir.unwrap().path().join("ann.json"))
        .next()
        .unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for _ in 0..2 {
        // The token has ended; all of them want the next one, without the password.
        std::thread::sleep(Duration::from_millis(1100));
        let send = || {
            let mut command = ann.command(&["send", "#ops", "hi"]);
            command.env_remove("BANTER_PASSWORD").stdin(Stdio::null());
            command.spawn().expect("it starts")
        };
        let sends: Vec<Child> = (0..6).map(|_| send()).collect();
        for send in sends {
            Ran::from(send.wait_with_output().expect("it ends")).succeeded();
        }
    }
    assert_eq!(ann.entries("#ops", 13).len(), 13);
}

#[test]
fn what_goes_wrong_is_said_in_one_line() {
    let server = Server::start();
    let ann = User::new(&server, "ann");
    ann.create("#ops");
    let failed = |arguments: &[&str], input: &str| ann.run(arguments, input).failed();
    assert!(failed(&["send", "#nowhere", "hi"], "").contains("no channel #nowhere"));
    assert!(failed(&["tail", "#nowhere"], "").contains("no channel #nowhere"));
    assert!(failed(&["chat", "#nowhere"], "").contains("no channel #nowhere"));
    assert!(failed(&["send", "#ops"], " \n").contains("blank"));
    assert!(failed(&["send", "#ops"], &"x".repeat(16_385)).contains("16384"));
    let nobody = ["send", "#ops", "hi", "--server", "http://127.0.0.1:9"];
    assert!(failed(&nobody, "").contains("http://127.0.0.1:9"));
    let stranger = ["send", "#ops", "hi", "--user", "eve"];
    assert!(failed(&stranger, "").contains("password is wrong"));
    let refused = |arguments: &[&str]| ann.run(arguments, "").refused();
    assert!(refused(&["send", "#ops", " "]).contains("TEXT"));
    assert!(refused(&["send", "#"]).contains("'#'"));
    assert!(refused(&["send"]).contains("<CHANNEL>"));
    assert!(refused(&["tail", "#ops", "--after", "-1"]).contains("--after"));
    assert!(refused(&["send", "#ops", "hi", "--server", "localhost"]).contains("--server"));
    assert!(refused(&["send", "#ops", "hi", "--user", "a b"]).contains("--user"));
    let lines = ann.run(
        &["send", "#ops", "--lines"],
        &format!("ok\n{}\n", "x".repeat(20_000)),
    );
    assert_eq!(lines.code, Some(1));
    assert!(lines.stderr.contains("line 2"), "{}", lines.stderr);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let server = Server::start();
    let ann = User::new(&server, "ann");
    ann.create("#ops");
    let mut tail = ann.start(&["tail", "#ops", "--after", "0"]);
    let mut first = [0; 1];
    tail.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut tail = Running {
        child: tail,
        lines: mpsc::channel().1,
    };
    ann.run(&["send", "#ops", "hi"], "").succeeded();
    assert_eq!(tail.code(), Some(0));
    let mut tail = ann.follow(&["tail", "#ops", "--after", "0"]);
    let shown = tail.lines(2);
    assert!(shown[0].ends_with("ann joined") && shown[1].ends_with("ann: hi"));
    tail.signal(Signal::TERM);
    assert_eq!(tail.code(), Some(0));
}

#[test]
fn restarts_are_bridged() {
    const ROUNDS: [Signal; 3] = [Signal::KILL, Signal::TERM, Signal::KILL];
    let mut server = Server::start_to_restart();
    let (mut tail, mut send) = {
        let ann = User::new(&server, "ann");
        ann.create("#ops");
        let tail = ann.follow(&["tail", "#ops", "--json", "--after", "1"]);
        (tail, ann.follow(&["send", "#ops", "--lines"]))
    };
    let mut input = send.child.stdin.take().unwrap();
    // Both are at work once this arrives; before, a server that is away is a failure.
    writeln!(input, "begin").unwrap();
    assert_eq!(bodies(&tail.frames(1)), ["begin"]);
    let mut expected = Vec::new();
    for (round, signal) in ROUNDS.into_iter().enumerate() {
        for number in 0..300 {
            expected.push(format!("{round} {number}"));
            writeln!(input, "{round} {number}").unwrap();
        }
        server.restart(signal);
    }
    drop(input);
    assert_eq!(send.code(), Some(0));
    assert_eq!(bodies(&tail.frames(900)), expected);
    tail.signal(Signal::TERM);
    assert_eq!(tail.code(), Some(0));
}

/// A database as it is between two runs: the file, and what its write-ahead log adds.
fn copy_database(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["banter.db", "banter.db-wal", "banter.db-shm"] {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_restored_copy_begins_a_new_epoch_and_those_who_saw_more_are_told() {
    let mut server = Server::start_to_restart();
    let ann = User::new(&server, "ann");
    let (name, dir, url) = (ann.name, server.dir().to_owned(), server.url().to_owned());
    let ann = User {
        name,
        dir: &dir,
        url,
    };
    ann.create("#ops");
    ann.run(&["send", "#ops", "in the copy"], "").succeeded();
    let copy = dir.join("copy");
    server.restart_after(Signal::TERM, |data| copy_database(data, &copy));
    let mut tail = ann.follow(&["tail", "#ops", "--json", "--after", "0"]);
    ann.run(&["send", "#ops", "after the copy"], "").succeeded();
    let before = tail.frames(3);
    assert_eq!(bodies(&before), ["in the copy", "after the copy"]);
    let running = run(&dir, &["new-epoch"]).failed();
    assert!(running.contains("already using"), "{running}");
    server.restart_after(Signal::KILL, |data| {
        copy_database(&copy, data);
        let begun = run(&dir, &["new-epoch"]).succeeded();
        assert!(begun.ends_with("has begun\n"), "{begun}");
    });
    let reset = &tail.frames(1)[0];
    assert_eq!(
        (&reset["type"], &reset["reason"], &reset["seq"]),
        (&json!("reset"), &json!("epoch"), &json!(2))
    );
    let again = tail.frames(2);
    assert_eq!(again, before[..2]);
    ann.run(&["send", "#ops", "anew"], "").succeeded();
    let anew = &tail.frames(1)[0];
    assert_eq!((&anew["seq"], &anew["body"]), (&json!(3), &json!("anew")));
    assert_eq!(anew["epoch"], reset["epoch"]);
    assert_ne!(anew["epoch"], before[2]["epoch"]);
    tail.signal(Signal::TERM);
    assert_eq!(tail.code(), Some(0));
}

#[test]
fn people_talk_through_pipes_too() {
    let server = Server::start();
    let (ann, bob) = (User::new(&server, "ann"), User::new(&server, "bob"));
    ann.create("#ops");
    let mut chat = ann.follow(&["chat", "#ops"]);
    chat.lines(3);
    let said = bob.run(&["chat", "ops"], "hello\n//slash\n/who\n/nonsense\n");
    assert_eq!((said.code, &*said.stderr), (Some(0), ""));
    let shown = [
        "#ops",
        "ann joined",
        "bob joined",
        "bob: hello",
        "bob: /slash",
        "2 members",
        "/help",
    ];
    for shown in shown {
        assert!(said.stdout.contains(shown), "{shown}: {}", said.stdout);
    }
    bob.run(&["send", "#ops", "\u{1b}[2J\u{202e}x"], "")
        .succeeded();
    writeln!(chat.child.stdin.as_mut().unwrap(), "bye").unwrap();
    let seen = chat.lines(5);
    let expected = [
        "bob joined",
        "bob: hello",
        "bob: /slash",
        r"bob: \u{1b}[2J\u{202e}x",
        "ann: bye",
    ];
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.ends_with(expected), "{seen}");
    }
    drop(chat.child.stdin.take());
    assert_eq!(chat.code(), Some(0));
    let lost = ann.run(&["chat"], "to nobody\n");
    assert_eq!(lost.code, Some(1));
}
