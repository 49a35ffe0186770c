//! The NGINX that `banter nginx-config` describes, in front of a real server.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use tempfile::{TempDir, tempdir};

use crate::support::fixture::{Fixture, Kind, Site, free_address};
use crate::support::hook::Hook;
use crate::support::http::{Connection, Request};
use crate::support::message::words;
use crate::support::person::Person;
use crate::support::{MARK, PATIENCE, run};

/// Flags of a command.
fn flags<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let mut arguments = vec!["nginx-config"];
    for (flag, value) in pairs {
        arguments.extend([flag, value]);
    }
    arguments
}

/// `nginx` with this configuration, which keeps everything in its directory.
fn nginx(config: &Path) -> Command {
    let mut command = Command::new("nginx");
    // Debian has it where only root's PATH leads.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command.args(["-e", "stderr", "-c"]).arg(config);
    command
}

pub(crate) fn installed() -> bool {
    let found = nginx(Path::new("x")).arg("-v").output().is_ok();
    if !found {
        eprintln!("skipped: nginx is not installed (make test installs it)");
        assert!(
            std::env::var_os("BANTER_TEST_CLIENTS").is_none(),
            "nginx is missing"
        );
    }
    found
}

/// Writes what the command printed, as whoever made the directory.
fn write(dir: &Path, text: &str) -> std::path::PathBuf {
    // Workers of a master that is root are not: they must get to their temporary files.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let config = dir.join("nginx.conf");
    fs::write(&config, text).unwrap();
    config
}

fn accepted(config: &Path) -> Output {
    let output = nginx(config).arg("-t").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("[warn] conflicting"), "{said}");
    output
}

#[test]
fn nginx_accepts_what_is_printed() {
    if !installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let run_dir = dir.path().to_str().unwrap();
    fs::write(
        dir.path().join("upstreams.txt"),
        "# two of them\ngateway 127.0.0.1:1001\n\ngateway 127.0.0.1:1002 # the other\nauth [::1]:1003\n",
    )
    .unwrap();
    let upstreams = flags(&[("--upstreams", "upstreams.txt"), ("--run-dir", run_dir)]);
    let text = run(dir.path(), &upstreams).succeeded();
    for line in ["127.0.0.1:1001", "127.0.0.1:1002", "[::1]:1003"] {
        assert!(
            text.contains(&format!("server {line} max_fails=0;")),
            "{text}"
        );
    }
    accepted(&write(dir.path(), &text));

    let plain = [
        ("--gateway", "127.0.0.1:1001,localhost:1002"),
        ("--auth", "127.0.0.1:1003"),
        ("--run-dir", run_dir),
        ("--listen", "[::1]:8443"),
        ("--status", "127.0.0.1:8444"),
    ];
    let text = run(dir.path(), &flags(&plain)).succeeded();
    accepted(&write(dir.path(), &text));

    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args([
            "-subj",
            "/CN=chat.example",
            "-keyout",
            "key.pem",
            "-out",
            "chain.pem",
        ])
        .current_dir(dir.path())
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: the certificate, for openssl is not installed");
        return;
    }
    let tls = [("--tls-certificate", "chain.pem"), ("--tls-key", "key.pem")];
    let text = run(dir.path(), &flags(&[&plain[..], &tls].concat())).succeeded();
    assert!(text.contains("listen [::1]:8443 ssl"), "{text}");
    accepted(&write(dir.path(), &text));
}

#[test]
fn the_limits_are_those_of_the_configuration() {
    let dir = tempdir().unwrap();
    fs::write(
        dir.path().join("banter.toml"),
        "[limits]\naddress_logins_per_minute = 77\naddress_sockets = 123\n",
    )
    .unwrap();
    let text = run(
        dir.path(),
        &flags(&[
            ("--gateway", "a:1"),
            ("--auth", "b:2"),
            ("--config", "banter.toml"),
        ]),
    )
    .succeeded();
    for line in [
        "rate=77r/m",
        "rate=50r/s",
        "limit_conn banter_sockets 123;",
        "client_max_body_size 65536;",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn what_cannot_be_configured_is_refused() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("ill.txt"), "gateway a:1\nworker b:2\n").unwrap();
    for (pairs, culprit) in [
        (&[][..], "--gateway"),
        (&[("--gateway", "a:1")], "--auth"),
        (
            &[("--gateway", "a:1; evil"), ("--auth", "b:2")],
            "a:1; evil",
        ),
        (
            &[("--gateway", "a:1"), ("--auth", "b:2"), ("--tls-key", "k")],
            "tls-certificate",
        ),
        (
            &[
                ("--gateway", "a:1"),
                ("--auth", "b:2"),
                ("--run-dir", "a$b"),
            ],
            "a$b",
        ),
    ] {
        let line = run(dir.path(), &flags(pairs)).refused();
        assert!(line.contains(culprit), "{pairs:?}: {line}");
    }
    let line = run(dir.path(), &flags(&[("--upstreams", "ill.txt")])).failed();
    assert!(line.contains("line 2"), "{line}");
}

/// A running NGINX. Dropped, it is ended.
pub(crate) struct Balancer {
    child: Child,
    pub(crate) address: SocketAddr,
    dir: TempDir,
}

impl Balancer {
    fn start(gateways: &[SocketAddr], auth: SocketAddr) -> Self {
        Self::start_with(gateways, auth, &[])
    }

    /// The same with more flags, such as those of a certificate.
    pub(crate) fn start_with(
        gateways: &[SocketAddr],
        auth: SocketAddr,
        more: &[(&str, &str)],
    ) -> Self {
        let dir = tempdir().unwrap();
        let address = free_address();
        let gateways: Vec<_> = gateways.iter().map(ToString::to_string).collect();
        let text = run(
            dir.path(),
            &flags(
                &[
                    &[
                        ("--gateway", gateways.join(",").as_str()),
                        ("--auth", &auth.to_string()),
                        ("--listen", &address.to_string()),
                        ("--run-dir", dir.path().to_str().unwrap()),
                    ],
                    more,
                ]
                .concat(),
            ),
        )
        .succeeded();
        let config = write(dir.path(), &text);
        let log = fs::File::create(dir.path().join("error.log")).unwrap();
        let child = nginx(&config)
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Instant::now();
        while Connection::try_open(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "NGINX does not listen");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self {
            child,
            address,
            dir,
        }
    }

    /// Ends it, so that its logs are complete; gives both.
    fn logs(mut self) -> String {
        self.end();
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap();
        read("access.log") + &read("error.log")
    }

    fn end(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};

        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.unwrap(), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn people_talk_through_it_though_a_gateway_is_away() {
    if !installed() {
        return;
    }
    let chat = Fixture::of(Kind::Embedded);
    // Whatever is tried first, half of the time it is one that is away.
    let balancer = Balancer::start(&[chat.address(), free_address()], chat.address());
    let site = Site {
        address: balancer.address,
        ..chat.site()
    };
    let ann = Person::register(site, "ann");
    let bob = Person::register(site, "bob");
    let channel = ann.create("lounge");
    bob.join(&channel);
    for _ in 0..8 {
        let (mut hers, mut his) = (ann.connect(), bob.connect());
        let body = words("through the balancer");
        hers.tell(&channel, &crate::support::message::fresh_id(), &body);
        assert_eq!(his.expect("message")["body"], body.as_str());
    }
    assert_eq!(ann.history(&channel).len(), 10);

    let hook = Hook::make(&ann, &channel, "build");
    hook.say(&words("by a webhook"));
    hook.post(&serde_json::json!({}))
        .refused(422, "field_missing");

    // What NGINX refuses by itself reads as if the server had.
    let large = "x".repeat(70_000);
    let request = Request::post("/v1/channels").text("application/json", &large);
    ann.call(request).refused(413, "too_large");
    let request = Request::new("TRACE", "/v1/me");
    let answer = Connection::open(site.address).call(&request);
    answer.refused(405, "method_not_allowed");
    assert!(answer.header("allow").is_some());
    let long = "x".repeat(300_000);
    let request = Request::get("/v1/me").header("X-Long", &long);
    if let Ok(answer) = Connection::open(site.address).try_call(&request) {
        answer.refused(400, "request_malformed");
    }

    let logs = balancer.logs();
    assert!(logs.contains("\"path\":\"/v1/connect\""), "{logs}");
    for secret in [MARK, &ann.token, &bob.refresh_token, hook.secret()] {
        assert!(!logs.contains(secret), "{secret} in {logs}");
    }
}

#[test]
fn without_any_gateway_it_says_so_and_keeps_secrets() {
    if !installed() {
        return;
    }
    let away = free_address();
    let balancer = Balancer::start(&[away, free_address()], away);
    let call = |request: &Request| Connection::open(balancer.address).call(request);
    for path in ["/v1/channels?name=quietly", "/v1/connect", "/"] {
        let answer = call(&Request::get(path));
        answer.refused(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        let media_type = answer.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"));
    }
    for path in [
        "/v1/webhooks/0198/whisper",
        "//v1/./webhooks/0198/whisper?whisper",
        "/v1/%77ebhooks/0198/whisper",
        "/V1/webhooks/0198/whisper",
    ] {
        call(&Request::post(path).bytes("{}")).refused(503, "unavailable");
    }
    let logs = balancer.logs();
    assert!(logs.contains("/v1/webhooks/..."), "{logs}");
    assert!(!logs.contains("whisper"), "{logs}");
    // The other error lines are there: operators need them.
    assert!(logs.contains("Connection refused"), "{logs}");
}
