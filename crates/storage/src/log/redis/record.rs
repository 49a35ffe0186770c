//! How an entry is written in Redis: text, fields separated by one space, the body last.
//!
//! A gateway writes everything from the kind on; the script puts number, epoch and time before it.

use std::fmt::Write as _;

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::id::{ChannelId, Epoch, Seq, UserId};
use banter_protocol::limit;
use banter_protocol::text::{Body, Username};
use banter_protocol::time::Timestamp;

use crate::entries::Record;
use crate::log::{Act, Append};

/// An entry in Redis that is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an entry: {0}")]
pub(crate) struct Undecodable(&'static str);

/// Where an entry stands, which is readable even where its content is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) sent_at: Timestamp,
}

/// Writes what a gateway gives of an entry.
pub(crate) fn encode(append: &Append) -> String {
    let user = hex(append.user.as_bytes());
    let name = append.username.as_str();
    match &append.act {
        Act::Message { id, body } => {
            let mut text = String::with_capacity(80 + id.as_str().len() + body.as_str().len());
            let _ = write!(text, "M {user} {name} {id} ");
            text.push_str(body.as_str());
            text
        }
        Act::Join => format!("J {user} {name}"),
        Act::Leave { by: None } => format!("L {user} {name} -"),
        Act::Leave { by: Some((_, by)) } => format!("L {user} {name} {by}"),
    }
}

/// Reads an entry as it lies in a list or is announced.
pub(crate) fn decode(channel: ChannelId, bytes: &[u8]) -> Result<Record, Undecodable> {
    let (stamp, rest) = decode_stamp(bytes)?;
    let rest = std::str::from_utf8(rest).map_err(|_| Undecodable("not UTF-8"))?;
    if rest.contains('\0') {
        return Err(Undecodable("U+0000"));
    }
    let (kind, user) = decode_kind(rest)?;
    let entry = Entry {
        channel,
        seq: stamp.seq,
        epoch: stamp.epoch,
        sent_at: stamp.sent_at,
        kind,
    };
    Ok(Record { entry, user })
}

/// Reads an entry that was announced: a tombstone where its content cannot be read.
pub(crate) fn read(channel: ChannelId, bytes: &[u8]) -> Result<Record, Undecodable> {
    let (stamp, _) = decode_stamp(bytes)?;
    Ok(read_as(channel, stamp.seq, stamp.epoch, bytes).0)
}

/// Reads the entry that must have number `seq`, as members see it: a tombstone where it cannot be
/// read, and then also why.
pub(crate) fn read_as(
    channel: ChannelId,
    seq: Seq,
    epoch: Epoch,
    bytes: &[u8],
) -> (Record, Option<Undecodable>) {
    let undecodable = match decode(channel, bytes) {
        Ok(record) if record.entry.seq == seq => return (record, None),
        Ok(_) => Undecodable("it has another number"),
        Err(undecodable) => undecodable,
    };
    let unreadable = Stamp {
        seq,
        epoch,
        sent_at: Timestamp::from_ms(0),
    };
    let stamp = match decode_stamp(bytes) {
        Ok((stamp, _)) if stamp.seq == seq => stamp,
        _ => unreadable,
    };
    (tombstone(channel, stamp), Some(undecodable))
}

/// The entry that fills a number whose content cannot be stored.
pub(crate) fn tombstone(channel: ChannelId, stamp: Stamp) -> Record {
    let entry = Entry {
        channel,
        seq: stamp.seq,
        epoch: stamp.epoch,
        sent_at: stamp.sent_at,
        kind: Kind::Tombstone,
    };
    Record { entry, user: None }
}

/// Reads where an entry stands, and gives what follows.
pub(crate) fn decode_stamp(bytes: &[u8]) -> Result<(Stamp, &[u8]), Undecodable> {
    let mut fields = bytes.splitn(4, |byte| *byte == b' ');
    let mut number = || {
        let text = std::str::from_utf8(fields.next()?).ok()?;
        let number: u64 = text.parse().ok()?;
        (number <= limit::INTEGER_MAX).then_some(number)
    };
    let mut required = || number().ok_or(Undecodable("no number, epoch or time"));
    let (seq, epoch, sent_at) = (required()?, required()?, required()?);
    let sent_at = Timestamp::from_ms(sent_at.cast_signed());
    let rest = fields.next().ok_or(Undecodable("no kind"))?;
    Ok((
        Stamp {
            seq,
            epoch,
            sent_at,
        },
        rest,
    ))
}

fn decode_kind(text: &str) -> Result<(Kind, Option<UserId>), Undecodable> {
    if text == "T" {
        return Ok((Kind::Tombstone, None));
    }
    let mut fields = text.splitn(5, ' ');
    let kind = fields.next().unwrap_or_default();
    let mut field = || fields.next().ok_or(Undecodable("a field is missing"));
    let user = unhex(field()?).map(UserId::from_bytes);
    let user = user.ok_or(Undecodable("no user"))?;
    let name = username(field()?)?;
    let kind = match kind {
        "M" => Kind::Message {
            id: field()?.parse().map_err(|_| Undecodable("no message id"))?,
            author: name,
            body: body(field()?)?,
        },
        "J" => Kind::Joined { user: name },
        "L" => Kind::Left {
            user: name,
            by: match field()? {
                "-" => None,
                by => Some(username(by)?),
            },
        },
        _ => return Err(Undecodable("unknown kind")),
    };
    Ok((kind, Some(user)))
}

fn username(text: &str) -> Result<Username, Undecodable> {
    match Username::parse(text) {
        Ok(name) if name.as_str() == text => Ok(name),
        _ => Err(Undecodable("no username")),
    }
}

fn body(text: &str) -> Result<Body, Undecodable> {
    Body::parse(text).map_err(|_| Undecodable("no body"))
}

/// 32 lower-case digits.
pub(crate) fn hex(bytes: &[u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(32);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of 32 lower-case digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId::from_bytes([9; 16]);

    fn append(act: Act) -> Append {
        Append {
            channel: CHANNEL,
            user: UserId::from_bytes([0xab; 16]),
            username: Username::parse("ann").unwrap(),
            act,
        }
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        let bob = Username::parse("bob").unwrap();
        let id = || "0190163d-8694-739b-aea5-966c26f8ad90".parse().unwrap();
        let spaced = "two  words\n and a newline ";
        for (act, text) in [
            (
                Act::Message {
                    id: id(),
                    body: Body::parse(spaced).unwrap(),
                },
                format!("M {} ann {} {spaced}", "ab".repeat(16), id()),
            ),
            (Act::Join, format!("J {} ann", "ab".repeat(16))),
            (
                Act::Leave { by: None },
                format!("L {} ann -", "ab".repeat(16)),
            ),
            (
                Act::Leave {
                    by: Some((UserId::from_bytes([1; 16]), bob)),
                },
                format!("L {} ann bob", "ab".repeat(16)),
            ),
        ] {
            let written = encode(&append(act));
            assert_eq!(written, text);
            let record = decode(CHANNEL, format!("7 3 1764000000123 {text}").as_bytes()).unwrap();
            assert_eq!((record.entry.seq, record.entry.epoch), (7, 3));
            assert_eq!(record.entry.sent_at.as_ms(), 1_764_000_000_123);
            assert_eq!(record.user, Some(UserId::from_bytes([0xab; 16])));
            match record.entry.kind {
                Kind::Message { body, .. } => assert_eq!(body.as_str(), spaced),
                Kind::Joined { user } => assert_eq!(user.as_str(), "ann"),
                Kind::Left { by, .. } => assert_eq!(by.is_some(), text.ends_with("bob")),
                Kind::Tombstone => unreachable!(),
            }
        }
        let tombstone = decode(CHANNEL, b"7 3 5 T").unwrap();
        assert_eq!(
            (tombstone.entry.kind, tombstone.user),
            (Kind::Tombstone, None)
        );
    }

    #[test]
    fn what_was_not_written_so_is_refused() {
        let user = "ab".repeat(16);
        for bad in [
            String::new(),
            "7".into(),
            "7 3 5".into(),
            "7 3 x T".into(),
            "-7 3 5 T".into(),
            "9007199254740992 3 5 T".into(),
            "7 3 5 ".into(),
            "7 3 5 X ".into(),
            format!("7 3 5 M {user} ann"),
            format!("7 3 5 M {user} ann id "),
            format!("7 3 5 M {user} ann id \0"),
            format!("7 3 5 M {user} Ann id body"),
            format!("7 3 5 M {} ann id body", user.to_uppercase()),
            format!("7 3 5 M {user} ann {} body", "x".repeat(65)),
            format!("7 3 5 L {user} ann"),
            format!("7 3 5 K {user} ann"),
        ] {
            assert!(decode(CHANNEL, bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(decode(CHANNEL, b"7 3 5 M \xff").is_err());
        assert!(decode_stamp(b"7 3 5 M \xff").is_ok());
    }
}
