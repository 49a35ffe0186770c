//! The frames as a client reads and writes them.
//!
//! Reading is lenient where the protocol may grow: unknown frames are told as such, unknown fields
//! are passed over, and an unknown `type` with `channel`, `seq` and `sent_at` is a newer kind of
//! entry, which counts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use banter_protocol::entry::Level;
use banter_protocol::id::{
    ChannelId, Epoch, MessageId, Position, Seq, SessionId, UserId, exact_integer,
};
use banter_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A frame from the server.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The first frame.
    Welcome(Welcome),
    /// Something happened in a channel.
    Entry(Entry),
    /// A message was accepted.
    Ack(Ack),
    /// The sender's messages of this epoch up to `seq` are in the database.
    Stored(Stored),
    /// Continuity cannot be proved.
    Reset(Reset),
    /// Send the outbox again.
    Resend,
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
    Error(Refusal),
    /// Answer to `ping`.
    Pong,
    /// A frame of a later version; to be ignored.
    Unknown,
}

/// The first frame of the server.
#[derive(Debug, Clone, Deserialize)]
pub struct Welcome {
    /// Whose socket this is.
    pub user: User,
    /// The token's session.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its identifier.
    pub id: UserId,
    /// Its name.
    pub username: String,
}

/// One entry of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The channel.
    pub channel: ChannelId,
    /// Its number in the channel.
    pub seq: Seq,
    /// The epoch it was written in; a newer kind of entry may lack it.
    pub epoch: Option<Epoch>,
    /// When the server took it.
    pub sent_at: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// The very text of the frame.
    pub raw: Arc<str>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Somebody wrote.
    Message {
        /// The author's own id for it.
        id: MessageId,
        /// Who wrote.
        author: String,
        /// What.
        body: String,
    },
    /// Somebody became a member.
    Joined {
        /// Who.
        user: String,
    },
    /// Somebody's membership ended.
    Left {
        /// Whose.
        user: String,
        /// The owner who ended it; absent when the member left.
        by: Option<String>,
    },
    /// An accepted entry whose content cannot be stored.
    Tombstone,
    /// A newer kind: it counts, and says nothing that this version understands.
    Other,
}

/// A message was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

/// The sender's messages of this epoch up to `seq` are in the database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// The channel.
    pub channel: ChannelId,
    /// The highest stored number.
    pub seq: Seq,
    /// The epoch.
    pub epoch: Epoch,
}

/// Continuity cannot be proved.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reset {
    /// The channel.
    pub channel: ChannelId,
    /// Why; a reason of a later version is read as [`Reason::Epoch`], the one that trusts least.
    pub reason: Reason,
    /// Live delivery goes on after this number.
    #[serde(default)]
    pub seq: Option<Seq>,
    /// The channel's epoch.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// The frame as it came.
    #[serde(skip)]
    pub raw: String,
}

/// Why continuity cannot be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// More entries than a replay carries.
    TooFar,
    /// Unknown channel, or not a member.
    Unavailable,
    /// The position belongs to another history.
    #[serde(other)]
    Epoch,
}

/// Something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// The stable reason; see [`banter_protocol::error::Code`].
    pub code: String,
    /// One sentence for people.
    #[serde(default)]
    pub message: String,
    /// The refused message's id.
    #[serde(default)]
    pub id: Option<String>,
    /// The channel meant.
    #[serde(default)]
    pub channel: Option<String>,
    /// When to try again.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// A text that is no frame of this protocol.
#[derive(Debug, thiserror::Error)]
#[error("not a frame of the protocol: {0}")]
pub struct Unreadable(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Head {
    channel: ChannelId,
    #[serde(deserialize_with = "exact_integer")]
    seq: Seq,
    #[serde(default)]
    epoch: Option<Epoch>,
    sent_at: Timestamp,
}

#[derive(Deserialize)]
struct Written {
    id: MessageId,
    author: String,
    body: String,
}

#[derive(Deserialize)]
struct Membership {
    user: String,
    #[serde(default)]
    by: Option<String>,
}

#[derive(Deserialize)]
struct After {
    after_ms: u64,
}

#[derive(Deserialize)]
struct Expiry {
    expires_in: u64,
}

impl Frame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// Not JSON, or a known frame with a missing or ill-typed field.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let tag: Tag<'_> = serde_json::from_str(text)?;
        Ok(match &*tag.kind {
            "welcome" => Frame::Welcome(serde_json::from_str(text)?),
            "ack" => Frame::Ack(serde_json::from_str(text)?),
            "stored" => Frame::Stored(serde_json::from_str(text)?),
            "reset" => Frame::Reset(Reset {
                raw: text.to_owned(),
                ..serde_json::from_str(text)?
            }),
            "resend" => Frame::Resend,
            "reconnect" => Frame::Reconnect {
                after_ms: serde_json::from_str::<After>(text)?.after_ms,
            },
            "renewed" => Frame::Renewed {
                expires_in: serde_json::from_str::<Expiry>(text)?.expires_in,
            },
            "error" => Frame::Error(serde_json::from_str(text)?),
            "pong" => Frame::Pong,
            kind => match Entry::read(kind, text) {
                Ok(Some(entry)) => Frame::Entry(entry),
                Ok(None) => Frame::Unknown,
                Err(e) => return Err(e.into()),
            },
        })
    }
}

impl Entry {
    /// Reads an item of a history page.
    ///
    /// # Errors
    /// Anything that is no entry.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        use serde::de::Error;
        let tag: Tag<'_> = serde_json::from_str(text)?;
        Self::read(&tag.kind, text)?.ok_or_else(|| serde_json::Error::custom("not an entry").into())
    }

    /// `None` where an unknown kind lacks what makes an entry.
    fn read(kind: &str, text: &str) -> Result<Option<Self>, serde_json::Error> {
        let known = matches!(kind, "message" | "joined" | "left" | "tombstone");
        let head: Head = match serde_json::from_str(text) {
            Ok(head) => head,
            Err(e) if known => return Err(e),
            Err(_) => return Ok(None),
        };
        let kind = match kind {
            "message" => {
                let Written { id, author, body } = serde_json::from_str(text)?;
                Kind::Message { id, author, body }
            }
            "joined" => Kind::Joined {
                user: serde_json::from_str::<Membership>(text)?.user,
            },
            "left" => {
                let Membership { user, by } = serde_json::from_str(text)?;
                Kind::Left { user, by }
            }
            "tombstone" => Kind::Tombstone,
            _ => Kind::Other,
        };
        Ok(Some(Self {
            channel: head.channel,
            seq: head.seq,
            epoch: head.epoch,
            sent_at: head.sent_at,
            kind,
            raw: text.into(),
        }))
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Outgoing<'a> {
    Hello {
        token: &'a str,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        resume: &'a BTreeMap<ChannelId, Position>,
    },
    Send {
        id: &'a MessageId,
        channel: ChannelId,
        body: &'a str,
    },
    Auth {
        token: &'a str,
    },
    Ping {},
}

impl Outgoing<'_> {
    fn text(&self) -> String {
        // Writing our own types to memory cannot fail: no maps with odd keys, no I/O.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The first frame.
#[must_use]
pub fn hello(token: &str, resume: &BTreeMap<ChannelId, Position>) -> String {
    Outgoing::Hello { token, resume }.text()
}

/// A message.
#[must_use]
pub fn send(id: &MessageId, channel: ChannelId, body: &str) -> String {
    Outgoing::Send { id, channel, body }.text()
}

/// A renewed token.
#[must_use]
pub fn auth(token: &str) -> String {
    Outgoing::Auth { token }.text()
}

/// A sign of life that the server answers.
#[must_use]
pub fn ping() -> String {
    Outgoing::Ping {}.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "0190163d-8694-739b-aea5-966c26f8ad90";

    #[test]
    fn a_newer_kind_of_entry_counts() {
        let text = format!(
            r#"{{"type":"edited","channel":"{CHANNEL}","seq":7,"epoch":1,"user":{{"id":1}},"sent_at":"2026-11-24T20:34:10.007Z"}}"#
        );
        let Frame::Entry(entry) = Frame::parse(&text).unwrap() else {
            panic!("no entry");
        };
        assert_eq!((entry.seq, &entry.kind), (7, &Kind::Other));
        assert_eq!(&*entry.raw, text);
    }

    #[test]
    fn unknown_frames_are_told_and_broken_ones_refused() {
        let typing = r#"{"type":"typing","channel":"x"}"#;
        assert!(matches!(Frame::parse(typing), Ok(Frame::Unknown)));
        for bad in ["", "[]", "{}", r#"{"type":"message","seq":1}"#] {
            assert!(Frame::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reset_has_a_head_unless_unavailable() {
        let parse = |rest: &str| {
            let text = format!(r#"{{"type":"reset","channel":"{CHANNEL}",{rest}}}"#);
            match Frame::parse(&text).unwrap() {
                Frame::Reset(reset) => (reset.reason, reset.seq),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            parse(r#""reason":"too_far","seq":9,"epoch":1"#),
            (Reason::TooFar, Some(9))
        );
        assert_eq!(
            parse(r#""reason":"unavailable""#),
            (Reason::Unavailable, None)
        );
        assert_eq!(
            parse(r#""reason":"moon","seq":9,"epoch":1"#),
            (Reason::Epoch, Some(9))
        );
    }

    #[test]
    fn the_type_comes_first() {
        let none = BTreeMap::new();
        assert_eq!(hello("t", &none), r#"{"type":"hello","token":"t"}"#);
        assert_eq!(ping(), r#"{"type":"ping"}"#);
        let id = "a".parse().unwrap();
        let sent = send(&id, CHANNEL.parse().unwrap(), "hi");
        assert_eq!(
            sent,
            format!(r#"{{"type":"send","id":"a","channel":"{CHANNEL}","body":"hi"}}"#)
        );
    }
}
