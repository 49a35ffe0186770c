//! Frozen example frames: this version reads every old frame and writes every frame as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use banter_protocol::close::Close;
use banter_protocol::entry::{Entry, Kind, Level};
use banter_protocol::error::Code;
use banter_protocol::frame::{
    Ack, ClientFrame, ErrorFrame, Hello, Reset, ResetReason, Send, ServerFrame, User, Welcome,
};
use banter_protocol::id::{ChannelId, Position, SessionId};
use banter_protocol::session::{Greeting, Identity, Request, Session};
use banter_protocol::text::{Body, Username};

const CHANNEL: &str = "01931a2e-7c00-7a41-8f3e-2b6d9c4e1a07";
const OTHER: &str = "01931a2e-9d10-7c02-a1b2-c3d4e5f60718";
const MESSAGE: &str = "01931a30-c350-7e88-b0c1-d2e3f4051627";
const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJuYW1lIjoiYW5uIn0.c2lnbmF0dXJl";
const TIME: &str = "2026-11-24T20:34:10.007Z";
const GREETING: &str = "Good morning, everyone.";
const OWN_ID: &str = "build-4711/retry~2";
const ODD_BODY: &str = "line one\nline \"two\"\t\\ é 漢 👋";

/// Every file of a folder: its name without the ending, and its text without the last line feed.
pub(crate) fn folder(name: &str) -> BTreeMap<String, String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/wire/v1")
        .join(name);
    let files: BTreeMap<_, _> = fs::read_dir(&path)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, text.strip_suffix('\n').unwrap().to_owned())
        })
        .collect();
    assert!(!files.is_empty(), "{} is empty", path.display());
    files
}

/// Every frozen file has its expectation and the other way round.
fn compare<T>(folder_name: &str, expected: Vec<(&str, T)>, check: impl Fn(&str, &str, T)) {
    let files = folder(folder_name);
    let names: BTreeSet<_> = expected
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, value) in expected {
        check(name, &files[name], value);
    }
}

fn channel(text: &str) -> ChannelId {
    text.parse().unwrap()
}

fn at(seq: u64, epoch: u64) -> Position {
    Position { seq, epoch }
}

#[test]
fn every_client_frame_is_read() {
    let hello = |resume: &[(&str, Position)]| {
        ClientFrame::Hello(Hello {
            token: TOKEN.into(),
            resume: resume.iter().map(|(c, p)| ((*c).into(), *p)).collect(),
        })
    };
    let send = |id: &str, body: &str| {
        ClientFrame::Send(Send {
            id: id.into(),
            channel: CHANNEL.into(),
            body: body.into(),
        })
    };
    let any_name = ClientFrame::Hello(Hello {
        token: "t".into(),
        resume: [("general".into(), at((1 << 53) - 1, 0))].into(),
    });
    let auth = ClientFrame::Auth {
        token: TOKEN.into(),
    };
    let expected = vec![
        ("hello", hello(&[])),
        (
            "hello_resume",
            hello(&[(CHANNEL, at(41, 1)), (OTHER, at(0, 1))]),
        ),
        ("hello_resume_any_name", any_name),
        ("send", send(MESSAGE, GREETING)),
        ("send_own_id", send(OWN_ID, ODD_BODY)),
        ("auth", auth),
        ("ping", ClientFrame::Ping),
        ("ping_newer_fields", ClientFrame::Ping),
    ];
    compare("client", expected, |name, text, frame| {
        assert!(ClientFrame::parse(text) == Ok(frame), "{name}");
    });
}

#[test]
fn every_server_frame_is_written_byte_for_byte() {
    let mut expected: Vec<(&str, String)> = server_frames()
        .into_iter()
        .map(|(name, frame)| (name, frame.to_json()))
        .collect();
    expected.extend(entries().iter().map(|(name, e)| (*name, String::from(e))));
    compare("server", expected, |name, text, json| {
        assert_eq!(json, text, "{name}");
    });
}

fn entries() -> Vec<(&'static str, Entry)> {
    let name = |text: &str| Username::parse(text).unwrap();
    let entry = |seq, kind| Entry {
        channel: channel(CHANNEL),
        seq,
        epoch: 1,
        sent_at: TIME.parse().unwrap(),
        kind,
    };
    let message = |id: &str, author, body: &str| Kind::Message {
        id: id.parse().unwrap(),
        author: name(author),
        body: Body::parse(body).unwrap(),
    };
    let odd = format!("{ODD_BODY}\u{7f}\u{2028}</script>");
    let left = |by| Kind::Left {
        user: name("bob"),
        by,
    };
    vec![
        ("message", entry(42, message(MESSAGE, "ann", GREETING))),
        (
            "message_own_id",
            entry(43, message(OWN_ID, "b.o_b-2", &odd)),
        ),
        ("joined", entry(1, Kind::Joined { user: name("ann") })),
        ("left", entry(42, left(None))),
        ("left_by", entry(42, left(Some(name("ann"))))),
        ("tombstone", entry(42, Kind::Tombstone)),
    ]
}

fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let ack = |level| {
        ServerFrame::Ack(Ack {
            id: MESSAGE.parse().unwrap(),
            channel: channel(CHANNEL),
            seq: 42,
            epoch: 1,
            level,
            sent_at: TIME.parse().unwrap(),
        })
    };
    let stored = ServerFrame::Stored {
        channel: channel(CHANNEL),
        seq: 42,
        epoch: 1,
    };
    let mut frames = vec![
        ("ack_queued", ack(Level::Queued)),
        ("ack_stored", ack(Level::Stored)),
        ("stored", stored),
        ("resend", ServerFrame::Resend {}),
        ("reconnect", ServerFrame::Reconnect { after_ms: 1500 }),
        ("renewed", ServerFrame::Renewed { expires_in: 600 }),
        ("pong", ServerFrame::Pong {}),
    ];
    frames.extend(welcomes());
    frames.extend(resets());
    frames.extend(errors());
    frames
}

fn welcomes() -> Vec<(&'static str, ServerFrame)> {
    let welcome = |level, expires_in, channels: &[(&str, Position)]| {
        ServerFrame::Welcome(Welcome {
            user: User {
                id: "01931a2d-1b58-7d10-9c2f-6f1f0a8b7c3d".parse().unwrap(),
                username: Username::parse("ann").unwrap(),
            },
            session: "01931a2d-4e20-7b3c-8a90-112233445566".parse().unwrap(),
            expires_in,
            server_time: TIME.parse().unwrap(),
            level,
            channels: channels.iter().map(|(c, p)| (channel(c), *p)).collect(),
        })
    };
    let two = [(CHANNEL, at(41, 1)), (OTHER, at(7, 1))];
    vec![
        ("welcome", welcome(Level::Stored, 600, &two)),
        (
            "welcome_queued",
            welcome(Level::Queued, 600, &[(CHANNEL, at(41, 3))]),
        ),
        ("welcome_no_channels", welcome(Level::Stored, 599, &[])),
    ]
}

fn resets() -> Vec<(&'static str, ServerFrame)> {
    let reset = |channel: &str, reason, head| {
        ServerFrame::Reset(Reset {
            channel: channel.into(),
            reason,
            head,
        })
    };
    vec![
        (
            "reset_too_far",
            reset(CHANNEL, ResetReason::TooFar, Some(at(20_042, 1))),
        ),
        (
            "reset_epoch",
            reset(CHANNEL, ResetReason::Epoch, Some(at(40, 2))),
        ),
        (
            "reset_unavailable",
            reset(OTHER, ResetReason::Unavailable, None),
        ),
    ]
}

fn errors() -> Vec<(&'static str, ServerFrame)> {
    let error = |code, channel: Option<&str>, retry_after_ms| {
        ServerFrame::Error(ErrorFrame {
            id: channel.map(|_| MESSAGE.into()),
            channel: channel.map(Into::into),
            retry_after_ms,
            ..ErrorFrame::of(code)
        })
    };
    vec![
        ("error", error(Code::UnknownType, None, None)),
        ("error_send", error(Code::NotAMember, Some(OTHER), None)),
        (
            "error_retry",
            error(Code::SlowDown, Some(CHANNEL), Some(250)),
        ),
        ("error_close", error(Code::TooFast, None, Some(1000))),
    ]
}

/// How the frozen files name an answer.
fn first(text: &str) -> String {
    match Greeting.first(ClientFrame::parse(text)) {
        Ok(_) => "taken".into(),
        Err(close) => close.code().to_string(),
    }
}

/// See [`first`].
fn later(text: &str) -> String {
    let session = Session::new(Identity {
        user: OTHER.parse().unwrap(),
        username: Username::parse("ann").unwrap(),
        session: SessionId::from_bytes([7; 16]),
        expires_ms: 0,
    });
    match session.on_frame(ClientFrame::parse(text), 1_795_552_450_007) {
        Ok(Request::Answer(ServerFrame::Error(error))) => error.code.to_string(),
        Ok(_) => "taken".into(),
        Err(close) => close.code().to_string(),
    }
}

#[test]
fn every_refused_text_gets_its_answer() {
    #[derive(serde::Deserialize)]
    struct Refused {
        frame: String,
        first: String,
        later: String,
    }
    for (name, text) in folder("refused") {
        let refused: Refused = serde_json::from_str(&text).unwrap();
        assert_eq!(first(&refused.frame), refused.first, "{name}, first");
        assert_eq!(later(&refused.frame), refused.later, "{name}, later");
    }
}

#[test]
fn refused_texts_show_every_answer_that_parsing_gives() {
    let all: String = folder("refused").into_values().collect();
    for close in [Close::BadFrame, Close::HelloExpected] {
        assert!(all.contains(&close.code().to_string()), "{close:?}");
    }
    for code in [
        Code::UnknownType,
        Code::IdInvalid,
        Code::ChannelNotFound,
        Code::BodyInvalid,
    ] {
        assert!(all.contains(code.as_str()), "{code}");
    }
}

#[test]
fn neither_tokens_nor_bodies_are_shown_by_debug() {
    for (name, text) in folder("client") {
        let frame = ClientFrame::parse(&text).unwrap();
        let mut shown = format!("{frame:?}");
        match frame {
            ClientFrame::Hello(hello) => shown += &format!("{hello:?}"),
            ClientFrame::Send(send) => shown += &format!("{send:?}"),
            _ => {}
        }
        assert!(
            !shown.contains(TOKEN) && !shown.contains(GREETING),
            "{name}: {shown}"
        );
    }
    let renew = Request::Renew(TOKEN.into());
    assert!(!format!("{renew:?}").contains(TOKEN));
}
