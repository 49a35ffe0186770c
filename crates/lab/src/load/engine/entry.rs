//! Entries as they come: nearly all are messages in one well-known form, which is read at once.

use std::collections::HashMap;

use banter_protocol::id::Position;
use serde::Deserialize;

use crate::audit::{Member, STRANGER, What, content, fingerprint};

/// Members by their names.
pub(crate) type Members = HashMap<String, Member>;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) channel: &'a str,
    pub(crate) position: Position,
    pub(crate) what: What,
    /// What a message says; only its beginning is to be trusted to be without escapes.
    pub(crate) body: &'a str,
}

/// What follows a body: the quotes, the field's name and the time.
const TAIL: &str = r#"","sent_at":"2026-01-01T00:00:00.000Z"}"#;

/// Reads a message that is written as this version writes it, and has no escapes.
pub(crate) fn quick<'a>(text: &'a [u8], names: &Members) -> Option<Entry<'a>> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = text.strip_prefix(r#"{"type":"message","channel":""#)?;
    let (channel, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(r#","seq":"#)?;
    let (seq, rest) = rest.split_once(',')?;
    let rest = rest.strip_prefix(r#""epoch":"#)?;
    let (epoch, rest) = rest.split_once(',')?;
    let rest = rest.strip_prefix(r#""id":""#)?;
    let (id, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(r#","author":""#)?;
    let (author, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(r#","body":""#)?;
    let (body, tail) = rest.split_at_checked(rest.len().checked_sub(TAIL.len())?)?;
    if !tail.starts_with(r#"","sent_at":""#) || body.contains(['\\', '"']) || id.contains('\\') {
        return None;
    }
    Some(Entry {
        channel,
        position: Position {
            seq: seq.parse().ok()?,
            epoch: epoch.parse().ok()?,
        },
        what: What::Message {
            author: names.get(author).copied().unwrap_or(STRANGER),
            id: fingerprint(id),
            content: content(body.as_bytes()),
        },
        body,
    })
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    channel: &'a str,
    seq: u64,
    epoch: u64,
    id: Option<String>,
    author: Option<String>,
    body: Option<String>,
    user: Option<String>,
}

/// Reads any entry.
pub(crate) fn slow<'a>(text: &'a [u8], names: &Members) -> Option<Entry<'a>> {
    let told: Told<'a> = serde_json::from_slice(text).ok()?;
    let member = |name: Option<&String>| {
        let known = name.and_then(|name| names.get(name));
        known.copied().unwrap_or(STRANGER)
    };
    let what = match told.kind {
        "message" => What::Message {
            author: member(told.author.as_ref()),
            id: fingerprint(&told.id?),
            content: content(told.body?.as_bytes()),
        },
        "joined" => What::Joined(member(told.user.as_ref())),
        "left" => What::Left(member(told.user.as_ref())),
        _ => What::Tombstone,
    };
    Some(Entry {
        channel: told.channel,
        position: Position {
            seq: told.seq,
            epoch: told.epoch,
        },
        what,
        body: "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = concat!(
        r#"{"type":"message","channel":"0190","seq":7,"epoch":2,"id":"a1","#,
        r#""author":"ann","body":"hello","sent_at":"2026-01-01T00:00:00.000Z"}"#
    );

    #[test]
    fn both_readers_agree() {
        let names: Members = [("ann".to_owned(), 3)].into();
        let quick = quick(MESSAGE.as_bytes(), &names).unwrap();
        assert_eq!((quick.channel, quick.body), ("0190", "hello"));
        assert_eq!(quick.position, Position { seq: 7, epoch: 2 });
        let slow = slow(MESSAGE.as_bytes(), &names).unwrap();
        assert_eq!(Entry { body: "", ..quick }, slow);
    }

    #[test]
    fn what_is_not_in_the_well_known_form_is_read_slowly() {
        let names = Members::new();
        for other in [
            MESSAGE.replace("hello", r"he\nllo"),
            MESSAGE.replace("message", "joined"),
            MESSAGE.replace(r#""epoch":2,"#, ""),
            MESSAGE.replace('}', r#","more":1}"#),
        ] {
            assert_eq!(quick(other.as_bytes(), &names), None, "{other}");
        }
        let escaped = MESSAGE.replace("hello", r"\u0068ello");
        let (read, plain) = (
            slow(escaped.as_bytes(), &names),
            slow(MESSAGE.as_bytes(), &names),
        );
        assert_eq!(read, plain);
    }
}
