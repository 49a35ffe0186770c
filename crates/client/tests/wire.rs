//! The frozen example frames, as this client reads and writes them.

use std::path::PathBuf;

use banter_client::frame::{self, Frame, Kind};
use serde_json::Value;

fn frozen(folder: &str) -> Vec<(String, String)> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "../protocol/tests/wire/v1",
        folder,
    ]
    .iter()
    .collect();
    let files = std::fs::read_dir(path).unwrap();
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn every_frame_of_the_server_is_read() {
    let frames = frozen("server");
    assert!(frames.len() >= 20, "{}", frames.len());
    for (name, text) in frames {
        let read = match Frame::parse(text.trim_end()).unwrap_or_else(|e| panic!("{name}: {e}")) {
            Frame::Welcome(_) => "welcome",
            Frame::Entry(entry) => match entry.kind {
                Kind::Message { .. } => "message",
                Kind::Joined { .. } => "joined",
                Kind::Left { .. } => "left",
                Kind::Tombstone => "tombstone",
                Kind::Other => "other",
            },
            Frame::Ack(_) => "ack",
            Frame::Stored(_) => "stored",
            Frame::Reset(_) => "reset",
            Frame::Resend => "resend",
            Frame::Reconnect { .. } => "reconnect",
            Frame::Renewed { .. } => "renewed",
            Frame::Error(_) => "error",
            Frame::Pong => "pong",
            Frame::Unknown => "unknown",
        };
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"], read, "{name}");
    }
}

#[test]
fn a_newer_server_is_understood() {
    let frames = frozen("newer");
    assert!(!frames.is_empty());
    for (name, text) in frames {
        let frame = Frame::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        match name.as_str() {
            "entry" => assert!(matches!(frame, Frame::Entry(e) if e.kind == Kind::Other)),
            "frame" => assert!(matches!(frame, Frame::Unknown)),
            _ => assert!(!matches!(frame, Frame::Unknown), "{name}"),
        }
    }
}

#[test]
fn the_frames_of_the_client_are_the_frozen_ones() {
    let ours = [
        "hello",
        "hello_resume",
        "send",
        "send_own_id",
        "auth",
        "ping",
    ];
    let mut frames = frozen("client");
    // The others are what another client may write.
    frames.retain(|(name, _)| ours.contains(&name.as_str()));
    assert_eq!(frames.len(), ours.len());
    for (name, text) in frames {
        let value: Value = serde_json::from_str(&text).unwrap();
        let field = |name: &str| value[name].as_str().unwrap_or_default();
        let resume = || match &value["resume"] {
            Value::Null => Default::default(),
            resume => serde_json::from_value(resume.clone()).unwrap(),
        };
        let written = match field("type") {
            "hello" => frame::hello(field("token"), &resume()),
            "send" => frame::send(
                &field("id").parse().unwrap(),
                field("channel").parse().unwrap(),
                field("body"),
            ),
            "auth" => frame::auth(field("token")),
            "ping" => frame::ping(),
            other => panic!("{name}: {other}"),
        };
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            value,
            "{name}"
        );
        assert!(written.starts_with(r#"{"type":"#), "{name}");
    }
}
