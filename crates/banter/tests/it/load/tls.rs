//! A load on a server behind TLS.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::nginx::{Balancer, installed};
use crate::support::{Ran, Server, banter, run};

/// A certificate for this machine that vouches for itself, with its key; `false`: it cannot be had.
fn certify(dir: &Path) -> bool {
    let config = "[req]\ndistinguished_name = dn\nx509_extensions = v3\nprompt = no\n\
                  [dn]\nCN = banter\n\
                  [v3]\nbasicConstraints = critical,CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
    fs::write(dir.join("req.cnf"), config).expect("written");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args([
            "-config",
            "req.cnf",
            "-keyout",
            "key.pem",
            "-out",
            "chain.pem",
        ])
        .current_dir(dir)
        .output();
    let made = made.is_ok_and(|made| made.status.success());
    if !made {
        eprintln!("skipped: openssl is not installed");
    }
    made
}

#[test]
fn people_read_write_and_log_in_behind_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    if !installed() || !certify(dir.path()) {
        return;
    }
    let server = Server::start();
    let address = server.url().trim_start_matches("http://");
    let address = address.parse().expect("an address");
    let [chain, key] = ["chain.pem", "key.pem"].map(|file| dir.path().join(file));
    let tls = [
        ("--tls-certificate", chain.to_str().expect("UTF-8")),
        ("--tls-key", key.to_str().expect("UTF-8")),
    ];
    let balancer = Balancer::start_with(&[address], address, &tls);
    let url = format!("https://{}", balancer.address);
    let text = run(dir.path(), &["load", "--print-profile", "community"]).succeeded();
    let text = text.replace("per_user = 0.00874", "per_user = 10.0");
    let text = text.replace("reconnect = 0.144", "reconnect = 2.0");
    fs::write(dir.path().join("busy.toml"), text).expect("written");
    let load = |trusted: Option<&Path>| {
        let arguments = [
            "load",
            "--server",
            &url,
            "--profile",
            "busy.toml",
            "--users",
            "6",
            "--duration",
            "2s",
            "--warm-up",
            "0s",
            "--slo",
            "errors<1%",
            "--json",
            "tls.json",
        ];
        let mut command = banter(dir.path(), &arguments);
        command.env("XDG_STATE_HOME", dir.path());
        command.envs(trusted.map(|file| ("SSL_CERT_FILE", file)));
        Ran::from(command.output().expect("it starts"))
    };
    let doubted = load(None).failed();
    assert!(doubted.contains("certificate"), "{doubted}");
    let ran = load(Some(&chain));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stderr, ran.stdout);
    let report = fs::read(dir.path().join("tls.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let run = &report["runs"][0];
    assert_eq!(run["audit"]["violations"], 0, "{}", ran.stdout);
    assert_eq!(run["errors"], serde_json::json!({}), "{}", ran.stdout);
    let rows = run["times"].as_array().expect("rows").iter();
    let measures: Vec<_> = rows.filter_map(|row| row["measure"].as_str()).collect();
    for measure in ["ack", "delivery", "connect", "history", "channels"] {
        assert!(measures.contains(&measure), "{measure} not in {measures:?}");
    }
}
