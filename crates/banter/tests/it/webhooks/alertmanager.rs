//! A real Alertmanager, set up as `deploy/alertmanager` is, tells of an alert in a channel.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::fixture::{Fixture, Kind, for_every_kind, free_address};
use crate::support::hook::Hook;
use crate::support::http::{Connection, Request};
use crate::support::message::words;

for_every_kind! {
    alertmanager_posts_into_a_channel,
}

/// A running Alertmanager. Dropped, it is killed.
struct Alertmanager {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Alertmanager {
    /// Starts it with the files of `deploy/alertmanager`, this URL in the file that they name, and
    /// without their patience. `None`: it is not installed.
    fn start(url: &str) -> Option<Self> {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/alertmanager");
        let dir = tempfile::tempdir().unwrap();
        let config = fs::read_to_string(deploy.join("alertmanager.yml")).unwrap();
        assert!(config.contains("group_wait: 20s"), "{config}");
        let config = config.replace("group_wait: 20s", "group_wait: 100ms");
        fs::write(dir.path().join("alertmanager.yml"), config).unwrap();
        fs::write(dir.path().join("banter-webhook-url"), format!("{url}\n")).unwrap();
        fs::create_dir(dir.path().join("templates")).unwrap();
        for entry in fs::read_dir(deploy.join("templates")).unwrap() {
            let from = entry.unwrap();
            let to = dir.path().join("templates").join(from.file_name());
            fs::copy(from.path(), to).unwrap();
        }
        let address = free_address();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(program()?)
            .current_dir(dir.path())
            .args(["--config.file=alertmanager.yml", "--storage.path=data"])
            .args(["--cluster.listen-address=", "--log.level=debug"])
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        Some(Self {
            child,
            address,
            dir,
        })
    }

    /// Tells it of alerts.
    fn fire(&self, alerts: &Value) {
        let request = Request::post("/api/v2/alerts").json(alerts);
        let since = Instant::now();
        loop {
            if let Ok(mut connection) = Connection::try_open(self.address)
                && let Ok(answer) = connection.try_call(&request)
                && answer.status == 200
            {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it is installed; Debian gives it a longer name.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["prometheus-alertmanager", "alertmanager"];
    let found = std::env::split_paths(&path)
        .flat_map(|directory| names.map(|name| directory.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: Alertmanager is not installed (make test installs it)");
        assert!(
            std::env::var_os("BANTER_TEST_CLIENTS").is_none(),
            "Alertmanager is missing"
        );
    }
    found
}

fn alertmanager_posts_into_a_channel(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("alerts");
    let hook = Hook::make(&ann, &channel, "alertmanager");
    let Some(alertmanager) = Alertmanager::start(&hook.url) else {
        return;
    };
    let mut hers = ann.connect();
    let alert = |instance: &str| {
        json!({
            "labels": {"alertname": "QueueOld", "severity": "page", "instance": instance},
            "annotations": {
                "summary": words(format!("the queue is old on {instance}")),
                "description": words("what it means"),
                "runbook_url": "https://chat.example/runbooks/QueueOld",
            },
        })
    };
    alertmanager.fire(&json!([alert("one"), alert("two")]));
    let told = hers.expect("message");
    assert_eq!(told["author"], "alertmanager");
    let body = told["body"].as_str().unwrap();
    let mut lines = body.lines();
    assert_eq!(lines.next(), Some("[page] QueueOld"), "{body}");
    for text in ["on one", "on two", "what it means", "runbooks/QueueOld"] {
        assert!(body.contains(text), "{text} in {body}");
    }
    // It was content with the answer: it does not try again, and does not complain.
    let log = alertmanager.log();
    assert!(
        !log.contains("level=warn") && !log.contains("level=error"),
        "{log}"
    );
    hers.is_alive();
    assert_eq!(ann.history(&channel).len(), 3);
}
