//! A cluster that is watched: its targets, its panels, its alerts, as Prometheus sees them.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::installed;
use super::life::Cluster;
use crate::support::http::{Connection, Request};
use crate::support::message::{fresh_id, words};
use crate::support::person::Person;
use crate::support::run;
use crate::support::socket::Socket;

/// Longest wait for Prometheus to see something: many scrapes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether everything that watches is installed.
fn watchers_installed() -> bool {
    let has = |program: &str| Path::new("/usr/bin").join(program).exists();
    let found = [
        "prometheus",
        "promtool",
        "prometheus-alertmanager",
        "prometheus-redis-exporter",
        "prometheus-postgres-exporter",
        "prometheus-nginx-exporter",
        "prometheus-node-exporter",
    ]
    .into_iter()
    .all(has);
    if !found {
        eprintln!("skipped: Prometheus or an exporter is missing (make test installs them)");
        let demanded = std::env::var_os("BANTER_TEST_CLIENTS").is_some();
        assert!(!demanded, "something that watches is missing");
    }
    found && installed()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Prometheus of a cluster.
struct Prometheus {
    address: SocketAddr,
}

impl Prometheus {
    /// That of this cluster, which from now on looks every second, and whose rules wait less.
    #[track_caller]
    fn hurried(cluster: &Cluster<'_>, dir: &Path) -> Self {
        let observe = dir.join("observe");
        let config = observe.join("prometheus.yml");
        rewrite(&config, |line| {
            line.replace("interval: 10s", "interval: 1s")
                .replace("timeout: 5s", "timeout: 1s")
        });
        for file in fs::read_dir(observe.join("rules")).unwrap() {
            rewrite(&file.unwrap().path(), hurry);
        }
        let process = reload(cluster, "prometheus");
        let address = process["listen"].as_str().unwrap().parse().unwrap();
        let it = Self { address };
        it.until("the new rules", |it| {
            let status = it.ask("/api/v1/status/config");
            let config = status["yaml"].as_str().unwrap_or_default();
            config.contains("scrape_interval: 1s")
        });
        it
    }

    /// What its API gives.
    #[track_caller]
    fn ask(&self, path: &str) -> Value {
        let answer = Connection::open(self.address).call(&Request::get(path));
        let mut answer = answer.ok(200);
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].take()
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is_so(self) {
            let targets = || self.ask("/api/v1/alerts");
            assert!(since.elapsed() < PATIENCE, "not {what}: {:#}", targets());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Whether an alert fires, in one of its series that has this label.
    fn fires(&self, alert: &str, label: (&str, &str)) -> bool {
        let alerts = self.ask("/api/v1/alerts");
        let alerts = alerts["alerts"].as_array().unwrap().iter();
        let mut meant = alerts.filter(|it| {
            it["labels"]["alertname"] == alert
                && (label.0.is_empty() || it["labels"][label.0] == label.1)
        });
        meant.any(|it| it["state"] == "firing")
    }

    /// Breaks something, and waits for its alert; mends it, and waits for the end of the alert.
    #[track_caller]
    fn alarm(
        &self,
        alert: &str,
        label: (&str, &str),
        mut break_it: impl FnMut(),
        mend: impl FnOnce(),
    ) {
        // What broke before may have raised it too.
        self.until(&format!("{alert} over"), |it| !it.fires(alert, label));
        let since = Instant::now();
        break_it();
        self.until(&format!("{alert} firing"), |it| it.fires(alert, label));
        eprintln!("{alert} fired after {:.1} s", since.elapsed().as_secs_f64());
        let since = Instant::now();
        mend();
        self.until(&format!("{alert} over"), |it| !it.fires(alert, label));
        eprintln!(
            "{alert} cleared after {:.1} s",
            since.elapsed().as_secs_f64()
        );
    }
}

/// Lets a process read its configuration again.
#[track_caller]
fn reload(cluster: &Cluster<'_>, name: &str) -> Value {
    let mut processes = cluster.settle().into_iter();
    let process = processes.find(|it| it["name"] == name).unwrap();
    let pid = i32::try_from(process["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
    process
}

/// Minutes and hours become seconds; what a rule says stays what it is.
fn hurry(line: &str) -> String {
    let mut text = line.to_owned();
    if let Some((before, _)) = line.split_once("for: ")
        && before.trim().is_empty()
    {
        return format!("{before}for: 1s");
    }
    for window in ["2m", "5m", "10m", "15m", "30m"] {
        text = text.replace(&format!("[{window}]"), "[15s]");
    }
    text.replace("<= 60", "<= 5")
}

#[track_caller]
fn rewrite(path: &Path, line: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().map(line).collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Somebody who goes on talking.
struct Talk {
    person: Person,
    socket: Socket,
    channel: String,
}

impl Talk {
    #[track_caller]
    fn say(&mut self) {
        let body = words("again");
        self.socket.tell(&self.channel, &fresh_id(), &body);
    }
}

/// Everything that can be counted happens at least once.
#[track_caller]
fn live(cluster: &Cluster<'_>) -> Talk {
    let ann = Person::register(cluster.site, "ann");
    let mut bob = Person::register(cluster.site, "bob");
    bob.refresh();
    let channel = ann.create("lounge");
    bob.join(&channel);
    let (mut hers, mut his) = (ann.connect(), bob.connect());
    for number in 0..5 {
        hers.tell(&channel, &fresh_id(), &words(number));
        his.find("message");
    }
    ann.history(&channel);
    ann.post(&channel, &fresh_id(), &words("over HTTP")).ok(201);
    bob.log_out();
    his.ended();
    Talk {
        person: ann,
        socket: hers,
        channel,
    }
}

#[test]
fn everything_is_watched_and_every_panel_has_data() {
    if !watchers_installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), "c", &["--observe"]);
    let prometheus = Prometheus::hurried(&cluster, &dir.path().join("c"));
    prometheus.until("everything watched", |it| {
        let targets = it.ask("/api/v1/targets?state=active");
        let targets = targets["activeTargets"].as_array().unwrap();
        targets.len() == 9 && targets.iter().all(|it| it["health"] == "up")
    });
    let found = prometheus.ask("/api/v1/alertmanagers");
    assert_eq!(found["activeAlertmanagers"].as_array().unwrap().len(), 1);
    prometheus.until("the watchdog", |it| it.fires("Watchdog", ("", "")));
    let mut talk = live(&cluster);
    for process in cluster.settle() {
        if process["admin"].is_string() && process["name"] != "nginx" {
            check_metrics(&process);
        }
    }
    // A gateway more is watched without a word.
    cluster.order("scale gateways 3");
    prometheus.until("the third gateway", |it| {
        let up = it.ask("/api/v1/query?query=sum(up{role=%22gateway%22})");
        up["result"][0]["value"][1] == "3"
    });
    if has_dashboards() {
        panels(&prometheus, || talk.say());
    }
    drop(talk);
    cluster.stop(Signal::TERM);
}

/// What Prometheus' own tool thinks of a scrape.
#[track_caller]
fn check_metrics(process: &Value) {
    let admin = process["admin"].as_str().unwrap().parse().unwrap();
    let scrape = Connection::open(admin).call(&Request::get("/metrics"));
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(scrape.text().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", process["name"]);
}

/// Whether dashboards were made, which needs Node.
fn has_dashboards() -> bool {
    let found = root().join("deploy/grafana/dist").exists();
    if !found {
        eprintln!("skipped: no dashboards (scripts/check-observability.sh makes them)");
        let demanded = std::env::var_os("BANTER_TEST_CLIENTS").is_some();
        assert!(!demanded, "there are no dashboards");
    }
    found
}

/// Every metric that is named anywhere exists, and every panel has data while somebody talks.
#[track_caller]
fn panels(prometheus: &Prometheus, mut talk: impl FnMut()) {
    let url = format!("http://{}", prometheus.address);
    let since = Instant::now();
    loop {
        talk();
        let mut check = Command::new("node");
        let check = check.args(["deploy/check.mjs", "live", &url]);
        let output = check.current_dir(root()).output().expect("node runs");
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        // Rates need some scrapes.
        assert!(since.elapsed() < PATIENCE, "{said}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// An alert, a label of it, the orders that raise it, and those that end it.
type Break = (
    &'static str,
    (&'static str, &'static str),
    &'static [&'static str],
    &'static [&'static str],
);

const BREAKS: [Break; 7] = [
    (
        "WorkersStalled",
        ("", ""),
        &["stop worker-1"],
        &["start worker-1"],
    ),
    (
        "BanterProcessDown",
        ("instance", "worker-1"),
        &["stop worker-1"],
        &["start worker-1"],
    ),
    (
        "HeartbeatMissing",
        ("stage", "stored"),
        &["stop worker-1"],
        &["start worker-1"],
    ),
    (
        "DependencyDown",
        ("dependency", "log"),
        &["stop redis"],
        &["start redis"],
    ),
    ("LogReplaced", ("", ""), &["stop redis", "start redis"], &[]),
    (
        "DependencyDown",
        ("dependency", "database"),
        &["stop postgres"],
        &["start postgres"],
    ),
    ("NginxDown", ("", ""), &["stop nginx"], &["start nginx"]),
];

#[test]
#[ignore = "takes some minutes: make alarms"]
fn what_breaks_raises_its_alert_and_mended_ends_it() {
    if !watchers_installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), "c", &["--observe"]);
    let prometheus = Prometheus::hurried(&cluster, &dir.path().join("c"));
    let Talk {
        person: ann,
        channel,
        ..
    } = live(&cluster);
    tell_alerts(&cluster, &dir.path().join("c"), &ann, &channel);
    // Somebody's message waits while no worker is there.
    let queued = Request::post(format!("/v1/channels/{channel}/messages"))
        .header("Prefer", "respond-async")
        .json(&json!({"body": words("waits")}));
    for (alert, label, broken, mended) in BREAKS {
        prometheus.alarm(
            alert,
            label,
            || {
                broken.iter().for_each(|order| drop(cluster.order(order)));
                if alert == "WorkersStalled" {
                    ann.call(queued.clone()).ok(202);
                }
            },
            || mended.iter().for_each(|order| drop(cluster.order(order))),
        );
    }
    prometheus.until("told in the channel", |_| {
        let history = ann.history(&channel).into_iter();
        let mut said = history.filter_map(|it| Some(it["body"].as_str()?.to_owned()));
        // One that fires while everything is there that can tell of it.
        said.any(|text| text.contains("LogReplaced"))
    });
    unbalance(&cluster, &prometheus);
    storm(&cluster, &prometheus);
    prometheus.until("an empty queue", |_| {
        let status = ["queue", "status", "--config", "c/banter.toml"];
        run(dir.path(), &status)
            .succeeded()
            .starts_with("0 entries")
    });
    cluster.stop(Signal::TERM);
}

/// Lets alerts arrive in a channel.
#[track_caller]
fn tell_alerts(cluster: &Cluster<'_>, dir: &Path, owner: &Person, channel: &str) {
    let request = Request::post(format!("/v1/channels/{channel}/webhooks"))
        .json(&json!({"name": "watchman"}));
    let made = owner.call(request).ok(201);
    let alerts = dir.join("observe/alerts");
    let url = made["url"].as_str().unwrap();
    fs::write(alerts.join("banter-webhook-url"), url).unwrap();
    rewrite(&alerts.join("alertmanager.yml"), |line| {
        line.replace("group_wait: 20s", "group_wait: 1s")
    });
    reload(cluster, "alertmanager");
}

/// Many sockets on one gateway, past the balancer.
#[track_caller]
fn unbalance(cluster: &Cluster<'_>, prometheus: &Prometheus) {
    let processes = cluster.settle();
    let first = processes.iter().find(|it| it["name"] == "gateway-1");
    let mut site = cluster.site;
    site.address = first.unwrap()["listen"].as_str().unwrap().parse().unwrap();
    let people: Vec<_> = (0..8)
        .map(|number| Person {
            site,
            ..Person::register(cluster.site, &format!("crowd-{number}"))
        })
        .collect();
    let mut sockets = Vec::new();
    let held = std::cell::RefCell::new(&mut sockets);
    prometheus.alarm(
        "GatewaysUnbalanced",
        ("", ""),
        || {
            let crowd = people
                .iter()
                .flat_map(|person| (0..31).map(|_| person.connect()));
            held.borrow_mut().extend(crowd);
        },
        || held.borrow_mut().clear(),
    );
}

/// More passwords than all cores can hash.
#[track_caller]
fn storm(cluster: &Cluster<'_>, prometheus: &Prometheus) {
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let is_over = &is_over;
    let site = cluster.site;
    std::thread::scope(|scope| {
        prometheus.alarm(
            "LoginsOverloaded",
            ("", ""),
            || {
                for number in 0..200 {
                    scope.spawn(move || {
                        let mut turn = 0;
                        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                            turn += 1;
                            let name = format!("guess-{number}-{turn}");
                            let credentials = json!({
                                "username": name, "password": "a password that nobody has",
                            });
                            let login = Request::post("/v1/auth/login").json(&credentials);
                            let _ = Connection::try_open(site.address)
                                .and_then(|mut connection| connection.try_call(&login));
                        }
                    });
                }
                prometheus.until("guessing", |it| it.fires("PasswordGuessing", ("", "")));
            },
            || is_over.store(true, std::sync::atomic::Ordering::Relaxed),
        );
    });
}
