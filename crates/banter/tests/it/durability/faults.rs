//! A database that cannot be written: sends are refused and can be tried again, reading goes on,
//! and when the fault has passed everything goes on by itself.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::audit;
use crate::support::collector::Collector;
use crate::support::disk::{ReadOnly, SmallDisk};
use crate::support::fixture::{Fixture, Kind, Setup};
use crate::support::http::Request;
use crate::support::message::{fresh_id, words};
use crate::support::person::Person;
use crate::support::talker::{Manner, Talker};

fn setup() -> Setup {
    Fixture::setup(Kind::Embedded)
        .set("limits.channel_entries_per_second", "100000")
        .expect_log("a batch was not taken")
        .allow_log("the log does not answer")
        .allow_log("checkpoint")
        .allow_log("write-ahead log")
        .allow_log("answered with 503")
}

/// Everything that must hold while `fault` is there, and afterwards.
fn survives<Fault>(chat: &Fixture, begin: impl FnOnce() -> Option<Fault>) {
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    bob.join(&channel);
    let talks = Talker::start(
        &ann,
        &[&channel],
        Manner {
            pause: Duration::from_millis(2),
            body_bytes: 1024,
            ..Manner::talks(16)
        },
    );
    let listens = Talker::start(&bob, &[&channel], Manner::LISTENS);
    talks.wait("talks", || talks.acked() >= 200);
    let Some(fault) = begin() else {
        talks.finish();
        // The log was told to expect a fault.
        return;
    };
    let refused = |talker: &Talker| {
        talker.record(|record| {
            record
                .refusals
                .get("unavailable")
                .copied()
                .unwrap_or_default()
        })
    };
    talks.wait("is refused", || refused(&talks) >= 3);
    holds_meanwhile(chat, &ann, &bob, &channel);
    let before = talks.acked();
    drop(fault);
    let since = Instant::now();
    talks.wait("talks again", || talks.acked() >= before + 100);
    eprintln!("talks again {:?} after the fault", since.elapsed());
    let last = bob.post(&channel, &fresh_id(), &words("the last")).ok(201)["seq"]
        .as_u64()
        .unwrap();
    listens.wait_for(&channel, last);
    let records = [talks.finish(), listens.finish()];
    let history = audit::dense(&ann.history(&channel), 1);
    for record in &records {
        assert_eq!(record.closes, [0_u16; 0], "a connection did not stay");
        audit::acked_is_kept(&channel, &history, record);
        audit::applied_is_history(&channel, &history, record);
    }
}

fn holds_meanwhile(chat: &Fixture, ann: &Person, bob: &Person, channel: &str) {
    let since = Instant::now();
    ann.post(channel, &fresh_id(), &words("refused"))
        .refused(503, "unavailable");
    let waited = since.elapsed();
    assert!(
        waited < Duration::from_secs(8),
        "refused only after {waited:?}"
    );
    // Reading goes on: history, lists, new sockets.
    let head = ann.page(channel, "limit=1")["items"][0]["seq"]
        .as_u64()
        .unwrap();
    assert!(head > 200, "{head}");
    ann.call(Request::get("/v1/channels")).ok(200);
    ann.call(Request::get("/v1/me")).ok(200);
    let (mut socket, welcome) = bob.resume(&Value::Null);
    assert!(welcome["channels"][channel]["seq"].as_u64().unwrap() >= head);
    let error = socket.refused(channel, &fresh_id(), &words("refused"));
    assert_eq!(error["code"], "unavailable");
    assert!(error["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
    // Whatever writes is refused in the same way.
    let form = serde_json::json!({"name": "another"});
    ann.call(Request::post("/v1/channels").json(&form))
        .refused(503, "unavailable");
    bob.call(Request::delete(format!(
        "/v1/channels/{channel}/subscription"
    )))
    .refused(503, "unavailable");
    chat.site()
        .enter("login", "ann")
        .refused(503, "unavailable");
    assert_eq!(chat.call(&Request::get("/livez")).status, 200);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let Some(disk) = SmallDisk::mount(24) else {
        return;
    };
    let mut chat = setup().data_dir(&disk.path().join("data")).start();
    survives(&chat, || {
        disk.fill();
        Some(Clear(&disk))
    });
    // It is as good after a restart.
    chat.restart();
    drop(chat);
}

struct Clear<'a>(&'a SmallDisk);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

#[test]
fn a_database_that_turns_read_only_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let probe = dir.path().join("probe");
    std::fs::create_dir(&probe).unwrap();
    if ReadOnly::make(&probe).is_none() {
        return;
    }
    let data = dir.path().join("data");
    let chat = setup().data_dir(&data).start();
    survives(&chat, || ReadOnly::make(&data));
}

/// Needs no privilege: no file of the server may grow beyond what the write-ahead log is now.
#[test]
fn files_that_may_not_grow_refuse_and_recover() {
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let mut chat = setup().through(&ignoring).start();
    survives(&chat, || {
        let wal = chat.data_dir().join("banter.db-wal");
        let length = std::fs::metadata(wal).unwrap().len();
        Some(limit_files(&chat, length))
    });
    chat.restart();
}

struct Unlimited(Pid);

impl Drop for Unlimited {
    fn drop(&mut self) {
        let none = Rlimit {
            current: None,
            maximum: None,
        };
        prlimit(Some(self.0), Resource::Fsize, none).expect("the hard limit was left alone");
    }
}

fn limit_files(chat: &Fixture, bytes: u64) -> Unlimited {
    let pid = i32::try_from(chat.pid())
        .ok()
        .and_then(Pid::from_raw)
        .unwrap();
    let limit = Rlimit {
        current: Some(bytes),
        maximum: None,
    };
    prlimit(Some(pid), Resource::Fsize, limit).expect("the server is ours");
    Unlimited(pid)
}

/// Another program holds the write lock of the database: a backup, or somebody curious.
#[test]
fn a_locked_database_refuses_and_recovers() {
    let collector = Collector::start();
    let mut chat = setup()
        .allow_log("a batch was not taken")
        .set("telemetry.otlp_endpoint", collector.url())
        .start();
    survives(&chat, || {
        Some(Locked::lock(&chat.data_dir().join("banter.db")))
    });
    // What could not be kept is told whichever entries are followed, and as what it was.
    chat.stop();
    let told = collector.told();
    let failed = told.iter().filter_map(|told| {
        let status = told.span.status.as_ref()?;
        (status.code() == StatusCode::Error).then_some((&told.span, &*status.message))
    });
    let failed: Vec<_> = failed.collect();
    let messages = failed.iter().filter(|(span, _)| span.name == "message");
    assert!(messages.count() >= 3, "{told:?}");
    for (span, code) in failed {
        assert_eq!(code, "unavailable");
        assert!(span.parent_span_id.is_empty() && span.trace_id.len() == 16);
    }
    collector.kept_secrets();
}

struct Locked(std::process::Child);

impl Locked {
    fn lock(path: &std::path::Path) -> Self {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};

        let program = "import sqlite3, sys\n\
                       c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n\
                       c.execute('BEGIN IMMEDIATE')\n\
                       print('locked', flush=True)\n\
                       sys.stdin.read()\n";
        let mut child = Command::new("python3")
            .args(["-c", program])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it locks");
        assert_eq!(line, "locked\n");
        Self(child)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let since = Instant::now();
        while self.0.try_wait().expect("it is ours").is_none() {
            assert!(since.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
