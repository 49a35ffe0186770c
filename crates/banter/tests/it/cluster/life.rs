//! A whole cluster, started and ordered about as an operator does it, while people talk.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::tempdir;

use super::installed;
use crate::support::contract::Contract;
use crate::support::fixture::Site;
use crate::support::http::{Connection, Request};
use crate::support::message::{fresh_id, words};
use crate::support::person::Person;
use crate::support::{banter, run};

/// Longest wait for a whole cluster: five times what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running cluster. Dropped, it is stopped.
pub(super) struct Cluster<'a> {
    dir: &'a Path,
    name: &'a str,
    child: Option<Child>,
    pub(super) site: Site,
}

impl<'a> Cluster<'a> {
    /// Starts one in the folder `name`, with so many workers.
    #[track_caller]
    fn up(dir: &'a Path, name: &'a str, workers: u32) -> Self {
        Self::start(dir, name, &["--workers", &workers.to_string()])
    }

    /// Starts one with these arguments besides.
    #[track_caller]
    pub(super) fn start(dir: &'a Path, name: &'a str, more: &[&str]) -> Self {
        let arguments = ["cluster", "up", "--listen", "127.0.0.1:0", "--data-dir"];
        let program = banter(dir, &arguments);
        // Whoever runs the tests may ignore the signal that tells of a closed terminal, and what is
        // ignored is inherited.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP");
        command.arg(program.get_program()).args(program.get_args());
        command.current_dir(dir).stdin(Stdio::null());
        for (variable, value) in program.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        let mut open = fs::File::options();
        let log = open.create(true).append(true);
        let log = log.open(dir.join(format!("{name}.log"))).unwrap();
        command.arg(name).args(more);
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = receiver.recv_timeout(PATIENCE).unwrap_or_default();
        let url = line.trim().strip_prefix("Banter cluster serves http://");
        let Some(address) = url.and_then(|url| url.parse::<SocketAddr>().ok()) else {
            let log = fs::read_to_string(dir.join(format!("{name}.log")));
            let _ = child.kill();
            panic!("{line}: {}", log.unwrap());
        };
        let contract = Contract::of(&mut Connection::open(address));
        Self {
            dir,
            name,
            child: Some(child),
            site: Site { address, contract },
        }
    }

    /// Gives an order, which must be carried out; gives what it tells.
    #[track_caller]
    pub(super) fn order(&self, order: &str) -> String {
        let mut arguments = vec!["cluster"];
        arguments.extend(order.split(' '));
        arguments.extend(["--data-dir", self.name]);
        run(self.dir, &arguments).succeeded()
    }

    #[track_caller]
    fn status(&self) -> Value {
        serde_json::from_str(&self.order("status --json")).unwrap()
    }

    /// Waits until every process is ready; gives them.
    #[track_caller]
    pub(super) fn settle(&self) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let mut status = self.status();
            let Value::Array(processes) = status["processes"].take() else {
                panic!("no processes: {status}");
            };
            if processes.iter().all(|process| process["ready"] == true) {
                return processes;
            }
            assert!(started.elapsed() < PATIENCE, "{processes:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn names(&self) -> Vec<String> {
        let text = |process: &Value| process["name"].as_str().unwrap().to_owned();
        self.settle().iter().map(text).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(since.elapsed() < 2 * PATIENCE, "{} goes on", self.name);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it with one signal; nothing of it runs any more.
    #[track_caller]
    pub(super) fn stop(mut self, signal: Signal) {
        let processes = self.settle();
        self.signal(signal);
        assert_eq!(self.wait().code(), Some(0));
        for process in processes {
            assert!(!runs(&process), "{process}");
        }
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = run(self.dir, &["cluster", "down", "--data-dir", self.name]);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.join(format!("{}.log", self.name)));
            eprintln!("the supervisor said:\n{}", log.unwrap_or_default());
        }
    }
}

/// Whether a process of a status still runs.
fn runs(process: &Value) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process["pid"]));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Says something until it is taken: whatever is down comes back. A retry is not a duplicate.
#[track_caller]
fn say(person: &Person, channel: &str, said: &mut Vec<String>) {
    let (id, body) = (fresh_id(), words(said.len()));
    let started = Instant::now();
    loop {
        let answer = person.post(channel, &id, &body);
        match answer.status {
            201 => break,
            503 => assert!(started.elapsed() < PATIENCE, "{}", answer.text()),
            _ => panic!("{}: {}", answer.status, answer.text()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    said.push(body);
}

#[track_caller]
fn bodies(person: &Person, channel: &str) -> Vec<String> {
    let history = person.history(channel);
    let messages = history.iter().filter(|entry| entry["type"] == "message");
    messages
        .map(|entry| entry["body"].as_str().unwrap().to_owned())
        .collect()
}

/// Kills every process in turn; each comes back.
#[track_caller]
fn kill_each(cluster: &Cluster<'_>, mut then: impl FnMut()) {
    for victim in [
        "gateway-1",
        "gateway-2",
        "worker-1",
        "auth-1",
        "nginx",
        "postgres",
        "redis",
    ] {
        let told = cluster.order(&format!("kill {victim}"));
        assert!(told.contains(victim), "{told}");
        let processes = cluster.settle();
        let found = processes.iter().find(|p| p["name"] == victim).unwrap();
        assert_eq!(found["restarts"], 1, "{found}");
        then();
    }
}

#[test]
fn people_talk_whatever_is_done_to_it() {
    if !installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let cluster = Cluster::up(dir.path(), "c", 1);
    assert_eq!(
        cluster.names(),
        [
            "redis",
            "postgres",
            "auth-1",
            "gateway-1",
            "gateway-2",
            "worker-1",
            "nginx"
        ]
    );
    let ann = Person::register(cluster.site, "ann");
    let bob = Person::register(cluster.site, "bob");
    let channel = ann.create("lounge");
    bob.join(&channel);
    let mut said = Vec::new();
    let (mut hers, mut his) = (ann.connect(), bob.connect());
    let (id, body) = (fresh_id(), words("first"));
    hers.tell(&channel, &id, &body);
    assert_eq!(his.find("message")["body"], body.as_str());
    said.push(body);

    kill_each(&cluster, || say(&ann, &channel, &mut said));
    Person::log_in(cluster.site, "ann");

    cluster.order("scale gateways 3");
    cluster.order("scale workers 2");
    assert_eq!(cluster.names().len(), 9);
    say(&bob, &channel, &mut said);
    cluster.order("restart gateways");
    say(&bob, &channel, &mut said);
    cluster.order("scale gateways 1");
    cluster.order("scale workers 1");
    assert_eq!(cluster.names().len(), 6);
    say(&bob, &channel, &mut said);

    let told = cluster.order("drain worker-1");
    assert!(told.contains("worker-1 stopped"), "{told}");
    let stopped = &cluster.status()["processes"][4];
    assert_eq!(
        (&stopped["state"], &stopped["pid"]),
        (&"stopped".into(), &Value::Null)
    );
    cluster.order("start worker-1");
    say(&ann, &channel, &mut said);

    assert_eq!(bodies(&bob, &channel), said);
    assert_eq!(bodies(&ann, &channel), said);
    cluster.stop(Signal::TERM);

    // What was said is still there, on other ports or the same.
    let cluster = Cluster::up(dir.path(), "c", 1);
    let ann = Person::log_in(cluster.site, "ann");
    assert_eq!(bodies(&ann, &channel), said);
    cluster.stop(Signal::INT);
}

#[test]
fn two_live_side_by_side_and_one_is_killed_and_comes_back() {
    if !installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let mut first = Cluster::up(dir.path(), "a", 0);
    let second = Cluster::up(dir.path(), "b", 0);
    let again = [
        "cluster",
        "up",
        "--data-dir",
        "b",
        "--listen",
        "127.0.0.1:0",
    ];
    let line = run(dir.path(), &again).failed();
    assert!(line.contains("already using"), "{line}");
    let line = run(
        dir.path(),
        &["cluster", "kill", "gateway-9", "--data-dir", "a"],
    )
    .failed();
    assert!(
        line.contains("there is no gateway-9") && line.contains("gateway-2"),
        "{line}"
    );
    Person::register(first.site, "ann");

    let left = first.settle();
    first.signal(Signal::KILL);
    first.wait();
    assert!(left.iter().all(runs));
    let line = run(dir.path(), &["cluster", "status", "--data-dir", "a"]).failed();
    assert!(line.contains("lost its supervisor"), "{line}");
    let first = Cluster::up(dir.path(), "a", 0);
    assert!(!left.iter().any(runs));
    Person::log_in(first.site, "ann");

    // The other one did not notice.
    for process in second.settle() {
        assert_eq!(process["restarts"], 0, "{process}");
    }
    let request = Request::get("/livez");
    assert_eq!(second.site.call(&request).status, 200);
    first.stop(Signal::INT);
    // Its terminal was closed.
    second.stop(Signal::HUP);
}

#[test]
fn a_second_signal_kills_everything() {
    if !installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let mut cluster = Cluster::up(dir.path(), "c", 0);
    let processes = cluster.settle();
    // Until the second one is heard as such.
    while cluster
        .child
        .as_mut()
        .unwrap()
        .try_wait()
        .unwrap()
        .is_none()
    {
        cluster.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = cluster.wait();
    let log = fs::read_to_string(dir.path().join("c.log")).unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("killed everything at once"), "{log}");
    let started = Instant::now();
    while processes.iter().any(runs) {
        assert!(started.elapsed() < PATIENCE, "{processes:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
