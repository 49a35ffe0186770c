//! The frames of the socket: one JSON object a text frame.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Level};
use crate::error::Code;
use crate::id::{ChannelId, Epoch, MessageId, Position, Seq, SessionId, UserId};
use crate::text::Username;
use crate::time::Timestamp;

/// A frame from a client. Texts are as sent; the rules for them are the receiver's to apply,
/// because a bad one is answered and does not end the socket.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// The first frame.
    Hello(Hello),
    /// A message.
    Send(Send),
    /// A new token for the same session.
    Auth {
        /// The access token.
        token: String,
    },
    /// Answered with `pong`.
    Ping,
}

/// The first frame of a client.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Hello {
    /// The access token.
    pub token: String,
    /// Where the client stands in the channels it wants replayed.
    #[serde(default)]
    pub resume: BTreeMap<String, Position>,
}

impl std::fmt::Debug for Hello {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClientFrame {
    /// The kind alone: tokens and what people write never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hello(_) => "hello",
            Self::Send(_) => "send",
            Self::Auth { .. } => "auth",
            Self::Ping => "ping",
        })
    }
}

/// A message to a channel.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Send {
    /// The author's own id for it.
    pub id: String,
    /// The channel's id, as text.
    pub channel: String,
    /// What to say.
    pub body: String,
}

impl std::fmt::Debug for Send {
    /// Without the body.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Send")
            .field("id", &self.id)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// Why a client's frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, not an object, a missing or ill-typed field.
    #[error("not a frame of the protocol")]
    BadFrame,
    /// An object with an unknown `type`.
    #[error("unknown type of frame")]
    UnknownType,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Auth {
    token: String,
}

impl ClientFrame {
    /// Reads a text frame. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let bad = |_| Unreadable::BadFrame;
        // A derived struct also reads an array; a frame is an object.
        if !text.trim_start().starts_with('{') {
            return Err(Unreadable::BadFrame);
        }
        refuse_lone_surrogates(text)?;
        let tag: Tag<'_> = serde_json::from_str(text).map_err(bad)?;
        Ok(match &*tag.kind {
            "hello" => Self::Hello(serde_json::from_str(text).map_err(bad)?),
            "send" => Self::Send(serde_json::from_str(text).map_err(bad)?),
            "auth" => Self::Auth {
                token: serde_json::from_str::<Auth>(text).map_err(bad)?.token,
            },
            "ping" => Self::Ping,
            _ => return Err(Unreadable::UnknownType),
        })
    }
}

/// Looks for surrogates that stand alone, wherever in a JSON text. The parser passes over unknown
/// fields without decoding their escapes, so it does not find them all. In JSON a backslash stands
/// in strings only; what is not JSON is refused anyway.
///
/// # Errors
/// [`Unreadable::BadFrame`].
pub fn refuse_lone_surrogates(text: &str) -> Result<(), Unreadable> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b == b'\\') {
        rest = &rest[at..];
        rest = match code_unit(rest) {
            Some(0xd800..=0xdbff) => match code_unit(&rest[6..]) {
                Some(0xdc00..=0xdfff) => &rest[12..],
                _ => return Err(Unreadable::BadFrame),
            },
            Some(0xdc00..=0xdfff) => return Err(Unreadable::BadFrame),
            Some(_) => &rest[6..],
            // Two bytes, so that an escaped backslash does not escape what follows it.
            None => rest.get(2..).unwrap_or_default(),
        };
    }
    Ok(())
}

/// The UTF-16 code unit of a `\uXXXX` at the start of `text`.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A frame from the server, entries excepted: those serialize themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The first frame.
    Welcome(Welcome),
    /// A message was accepted.
    Ack(Ack),
    /// The sender's messages up to `seq` are in the database.
    Stored {
        /// The channel.
        channel: ChannelId,
        /// The highest stored number.
        seq: Seq,
        /// The epoch.
        epoch: Epoch,
    },
    /// Continuity cannot be proved.
    Reset(Reset),
    /// The log lost unstored entries: send the outbox again.
    Resend {},
    /// Open another socket after so long.
    Reconnect {
        /// Milliseconds to wait.
        after_ms: u64,
    },
    /// The token was renewed.
    Renewed {
        /// Seconds that the new one lasts.
        expires_in: u64,
    },
    /// Something was refused.
    Error(ErrorFrame),
    /// Answer to `ping`.
    Pong {},
}

/// The first frame of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Welcome {
    /// Whose socket this is.
    pub user: User,
    /// The token's `sid`.
    pub session: SessionId,
    /// Seconds that the token lasts.
    pub expires_in: u64,
    /// The server's clock.
    pub server_time: Timestamp,
    /// What an `ack` of this server stands for.
    pub level: Level,
    /// Every channel of the user, with its head.
    pub channels: BTreeMap<ChannelId, Position>,
}

/// An account, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its identifier.
    pub id: UserId,
    /// Its name.
    pub username: Username,
}

/// A message was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ack {
    /// The author's own id for it.
    pub id: MessageId,
    /// The channel.
    pub channel: ChannelId,
    /// Its number.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// How safe it is.
    pub level: Level,
    /// When the server took it.
    pub sent_at: Timestamp,
}

/// Continuity in a channel cannot be proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reset {
    /// The channel, as the client named it.
    pub channel: String,
    /// Why.
    pub reason: ResetReason,
    /// Live delivery goes on after this entry; absent when `unavailable`.
    #[serde(flatten)]
    pub head: Option<Position>,
}

/// Why continuity cannot be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// More entries than a replay carries: keep what you have and page the rest.
    TooFar,
    /// The position belongs to another history: discard what you have and page.
    Epoch,
    /// Unknown channel, or not a member.
    Unavailable,
}

/// Something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorFrame {
    /// The stable reason.
    pub code: Code,
    /// One sentence for people.
    pub message: &'static str,
    /// The refused message's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The channel meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorFrame {
    /// An error about the socket as a whole.
    #[must_use]
    pub const fn of(code: Code) -> Self {
        Self {
            code,
            message: code.title(),
            id: None,
            channel: None,
            retry_after_ms: None,
        }
    }
}

impl From<&Entry> for String {
    fn from(entry: &Entry) -> Self {
        to_json(entry)
    }
}

impl ServerFrame {
    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

fn to_json(value: &impl Serialize) -> String {
    // Serializing our own types to memory cannot fail: no maps with odd keys, no I/O.
    serde_json::to_string(value).unwrap_or_default()
}
