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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A message to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Send {
    /// The author's own id for it.
    pub id: String,
    /// The channel's id, as text.
    pub channel: String,
    /// What to say.
    pub body: String,
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

/// The parser passes over unknown fields without decoding their escapes, so a text with escaped
/// surrogates is decoded whole once.
fn refuse_lone_surrogates(text: &str) -> Result<(), Unreadable> {
    let escaped = text
        .as_bytes()
        .windows(3)
        .any(|w| w[0] == b'\\' && w[1] == b'u' && matches!(w[2], b'd' | b'D'));
    if escaped && serde_json::from_str::<Strings>(text).is_err() {
        return Err(Unreadable::BadFrame);
    }
    Ok(())
}

/// Any JSON value, its strings decoded and thrown away.
struct Strings;

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Strings;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Strings, E> {
                Ok(Strings)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Strings, E> {
                Ok(Strings)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Strings, E> {
                Ok(Strings)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Strings, E> {
                Ok(Strings)
            }
            fn visit_str<E>(self, _: &str) -> Result<Strings, E> {
                Ok(Strings)
            }
            fn visit_unit<E>(self) -> Result<Strings, E> {
                Ok(Strings)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut a: A,
            ) -> Result<Strings, A::Error> {
                while a.next_element::<Strings>()?.is_some() {}
                Ok(Strings)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut a: A,
            ) -> Result<Strings, A::Error> {
                while a.next_entry::<Strings, Strings>()?.is_some() {}
                Ok(Strings)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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
