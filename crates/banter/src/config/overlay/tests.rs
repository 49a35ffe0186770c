//! What wins, and what is said about ill values.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use banter_server::Settings;

use super::{Effective, Flag, Source, Wrong, keys};
use crate::config::DEFAULT_FILE;

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let pair = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    pairs.iter().map(pair).collect()
}

fn load(file: &str, environment: &[(&str, &str)], flags: &[Flag]) -> anyhow::Result<Effective> {
    let mut effective = Effective::default();
    effective.apply_text(file, Path::new("banter.toml"))?;
    effective.apply_environment(variables(environment))?;
    effective.apply_flags(flags)?;
    effective.check()?;
    Ok(effective)
}

fn refusal(file: &str, environment: &[(&str, &str)]) -> String {
    format!("{:#}", load(file, environment, &[]).unwrap_err())
}

#[test]
fn the_default_file_holds_the_defaults_and_covers_every_setting() {
    let effective = load(DEFAULT_FILE, &[], &[]).unwrap();
    assert_eq!(effective.settings, Settings::default());
    let mut documented = BTreeSet::new();
    let mut section = "";
    for line in DEFAULT_FILE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        }
        let name = line.trim_start_matches("# ").split_once(" = ");
        if let Some((name, _)) = name.filter(|(name, _)| !name.contains(' ')) {
            documented.insert(format!("{section}.{}", name.trim_end_matches("_file")));
        }
    }
    let known: BTreeSet<_> = keys::KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(documented, known);
    // What stands there commented must be right too.
    let all = DEFAULT_FILE.replace("# public_url", "public_url");
    load(&all, &[], &[]).unwrap();
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:11\"\n\
                data_dir = \"/from/file\"";
    let environment = [
        ("BANTER_SERVER__LISTEN", "127.0.0.1:2"),
        ("BANTER_SERVER__ADMIN_LISTEN", "127.0.0.1:12"),
        ("BANTER_SERVER", "http://not-a-setting"),
        ("PATH", "/bin"),
    ];
    let flags = [("server.listen", "--listen", "127.0.0.1:3".to_owned())];
    let effective = load(file, &environment, &flags).unwrap();
    let server = &effective.settings.server;
    assert_eq!(server.listen.port(), 3);
    assert_eq!(server.admin_listen.port(), 12);
    assert_eq!(server.data_dir, Path::new("/from/file"));
    let source = |name| effective.source(keys::find(name).unwrap());
    assert_eq!(source("server.listen"), Source::Flag("--listen"));
    let variable = "BANTER_SERVER__ADMIN_LISTEN".to_owned();
    assert_eq!(source("server.admin_listen"), Source::Environment(variable));
    assert_eq!(
        source("server.data_dir"),
        Source::File("banter.toml".into())
    );
    assert_eq!(source("auth.registration"), Source::Default);
}

#[test]
fn every_setting_can_be_given_as_a_variable() {
    let defaults = Settings::default();
    for key in keys::KEYS.iter() {
        let text = match key.show(&defaults) {
            Some(toml::Value::String(text)) => text,
            Some(toml::Value::Array(items)) => {
                let items = items.iter().filter_map(toml::Value::as_str);
                items.collect::<Vec<_>>().join(",")
            }
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let variable = format!("BANTER_{}", key.name.replace('.', "__").to_uppercase());
        let effective = load("", &[(&variable, &text)], &[]).unwrap();
        assert_eq!(effective.settings, defaults, "{variable}");
        assert_eq!(effective.source(key), Source::Environment(variable));
    }
}

#[test]
fn an_ill_value_is_named_with_what_is_allowed() {
    for (file, name, allowed) in [
        (
            "[server]\nlisten = \"8080\"",
            "server.listen",
            "127.0.0.1:8080",
        ),
        ("[server]\nlisten = 8080", "server.listen", "quotes"),
        (
            "[auth]\nregistration = \"maybe\"",
            "auth.registration",
            "open or closed",
        ),
        (
            "[auth]\naccess_token_ttl = 600",
            "auth.access_token_ttl",
            "10m",
        ),
        (
            "[auth]\naccess_token_ttl = \"0s\"",
            "auth.access_token_ttl",
            "from 1s to 1d",
        ),
        (
            "[limits]\noutbound_bytes = 1",
            "limits.outbound_bytes",
            "from 131072",
        ),
        (
            "[limits]\noutbound_bytes = -1",
            "limits.outbound_bytes",
            "whole number",
        ),
        ("[server]\nallowed_origins = [\"x\"]", "\"x\"", "http://"),
        (
            "[server]\ntrusted_proxies = \"::1\"",
            "server.trusted_proxies",
            "list",
        ),
        (
            "[telemetry]\nlog_level = \"loud\"",
            "telemetry.log_level",
            "debug",
        ),
        (
            "[database]\nurl = \"mysql://db\"",
            "database.url",
            "postgres://",
        ),
        (
            "[server]\nlisten_file = \"x\"",
            "server.listen_file",
            "admin_listen",
        ),
        ("[servers]\nlisten = \"x\"", "servers", "server, auth"),
        ("listen = \"x\"", "listen", "server, auth"),
        ("[server]\nlisten = ", "line 2", ""),
    ] {
        let refusal = refusal(file, &[]);
        assert!(refusal.contains(name), "{refusal}");
        assert!(refusal.contains(allowed), "{refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
    let refusal = refusal("", &[("BANTER_LIMITS__OUTBOUND_BYTES", "lots")]);
    assert!(
        refusal.contains("BANTER_LIMITS__OUTBOUND_BYTES: must be"),
        "{refusal}"
    );
}

#[test]
fn an_ill_flag_is_wrong_usage() {
    let flags = [("server.listen", "--listen", "here".to_owned())];
    let error = load("", &[], &flags).unwrap_err();
    assert!(error.is::<Wrong>());
    assert!(
        error.to_string().starts_with("--listen: must be"),
        "{error}"
    );
}

#[test]
fn a_secret_comes_from_its_own_file_and_is_never_shown() {
    let file = std::env::temp_dir().join(format!("banter-secret-{}", std::process::id()));
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let path = file.to_str().unwrap();
    let effective = load("", &[("BANTER_AUTH__SECRET_FILE", path)], &[]).unwrap();
    let secret = effective.settings.auth.secret.as_ref().unwrap();
    assert_eq!(secret.reveal().len(), 32);
    let key = keys::find("auth.secret").unwrap();
    let shown = key.show(&effective.settings).unwrap().to_string();
    assert!(!shown.contains("0123"), "{shown}");
    let both = [
        ("BANTER_AUTH__SECRET_FILE", path),
        ("BANTER_AUTH__SECRET", "x"),
    ];
    assert!(refusal("", &both).contains("keep one"));
    std::fs::remove_file(&file).unwrap();
    assert!(refusal("", &[("BANTER_AUTH__SECRET_FILE", path)]).contains("cannot read"));
    let short = refusal("", &[("BANTER_AUTH__SECRET", "hunter2")]);
    assert!(!short.contains("hunter2"), "{short}");
}

#[test]
fn two_listeners_need_two_ports() {
    let file = "[server]\nlisten = \"127.0.0.1:9\"\nadmin_listen = \"127.0.0.1:9\"";
    assert!(refusal(file, &[]).contains("different ports"));
    load(&file.replace(":9", ":0"), &[], &[]).unwrap();
}

#[test]
fn a_cluster_needs_database_and_queue_and_shows_no_password() {
    let database = ("BANTER_DATABASE__URL", "postgres://ann:hunter2@db/banter");
    let queue = ("BANTER_LOG__URL", "redis://:hunter2@queue:6379/1");
    assert!(refusal("", &[database]).contains("set log.url"));
    assert!(refusal("", &[queue]).contains("set database.url"));
    let effective = load("", &[database, queue], &[]).unwrap();
    for (name, shown) in [
        ("database.url", "postgres://ann:***@db/banter"),
        ("log.url", "redis://:***@queue:6379/1"),
    ] {
        let key = keys::find(name).unwrap();
        let value = key.show(&effective.settings).unwrap();
        assert_eq!(value.as_str(), Some(shown));
        assert!(key.hides(&effective.settings));
    }
    let ill = ("BANTER_LOG__URL", "http://:hunter2@queue");
    assert!(refusal("", &[ill]).contains("redis://"));
    assert!(!refusal("", &[ill]).contains("hunter2"));
}
