//! What is published, and where.

use banter_protocol::id::{ChannelId, Epoch, Position, UserId};
use banter_protocol::limit;

use crate::bus::{Changed, Topic};
use crate::entries::Record;
use crate::log::Shard;
use crate::log::redis::record;

/// How the topic of a channel begins; its id follows in 32 hexadecimal digits.
pub(super) const CHANNEL: &[u8] = b"c:";
/// How the topic of a user begins.
const USER: &[u8] = b"u:";
/// Where new epochs are told.
pub(super) const EPOCHS: &str = "epochs";

/// What a channel's topic carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// New entries, in order.
    Entries(Vec<Record>),
    /// Entries up to this one are stored.
    Stored(Position),
}

/// The name of a topic.
pub(super) fn name(topic: Topic) -> String {
    match topic {
        Topic::Channel(channel) => format!("c:{}", record::hex(channel.as_bytes())),
        Topic::User(user) => format!("u:{}", record::hex(user.as_bytes())),
    }
}

/// The topic with this name.
pub(super) fn topic(name: &[u8]) -> Option<Topic> {
    if let Some(id) = name.strip_prefix(CHANNEL) {
        return Some(Topic::Channel(ChannelId::from_bytes(id_of(id)?)));
    }
    let id = name.strip_prefix(USER)?;
    Some(Topic::User(UserId::from_bytes(id_of(id)?)))
}

/// Reads what a channel's topic brought; `None`: nothing of ours.
pub(super) fn news(channel: ChannelId, payload: &[u8]) -> Option<News> {
    match payload.split_first()? {
        (b'E', mut rest) => {
            let mut records = Vec::new();
            while !rest.is_empty() {
                let colon = rest.iter().position(|byte| *byte == b':')?;
                let length = usize::try_from(number(&rest[..colon])?).ok()?;
                let (entry, more) = rest[colon + 1..].split_at_checked(length)?;
                records.push(record::read(channel, entry).ok()?);
                rest = more;
            }
            Some(News::Entries(records))
        }
        (b'S', rest) => {
            let mut fields = rest.strip_prefix(b" ")?.split(|byte| *byte == b' ');
            let (seq, epoch) = (number(fields.next()?)?, number(fields.next()?)?);
            Some(News::Stored(Position { seq, epoch }))
        }
        _ => None,
    }
}

/// Reads what a user's topic brought; `None`: nothing of ours.
pub(super) fn changed(user: UserId, payload: &[u8]) -> Option<Changed> {
    let mut fields = payload.split(|byte| *byte == b' ');
    let joined = match fields.next()? {
        b"J" => true,
        b"L" => false,
        _ => return None,
    };
    let channel = ChannelId::from_bytes(id_of(fields.next()?)?);
    let (seq, epoch) = (number(fields.next()?)?, number(fields.next()?)?);
    Some(Changed {
        channel,
        user,
        position: Position { seq, epoch },
        joined,
    })
}

/// Reads what was told of an epoch.
pub(super) fn epoch(payload: &[u8]) -> Option<(Shard, Epoch)> {
    let mut fields = payload.split(|byte| *byte == b' ');
    let shard = u8::try_from(number(fields.next()?)?).ok()?;
    Some((Shard::numbered(shard)?, number(fields.next()?)?))
}

fn id_of(digits: &[u8]) -> Option<[u8; 16]> {
    record::unhex(std::str::from_utf8(digits).ok()?)
}

fn number(digits: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number <= limit::INTEGER_MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [0xa7; 16];

    #[test]
    fn topics_have_names() {
        for topic in [
            Topic::Channel(ChannelId::from_bytes(ID)),
            Topic::User(UserId::from_bytes(ID)),
        ] {
            assert_eq!(super::topic(name(topic).as_bytes()), Some(topic));
        }
        for foreign in ["epochs", "c:", "c:zz", "probe:1", ""] {
            assert_eq!(topic(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn a_channel_brings_entries_or_how_far_it_is_stored() {
        let channel = ChannelId::from_bytes(ID);
        let user = "07".repeat(16);
        let first = format!("7 2 1000 M {user} ann id-1 E3:ä b");
        let second = format!("8 2 1001 J {user} bob");
        let payload = format!("E{}:{first}{}:{second}", first.len(), second.len());
        let Some(News::Entries(records)) = news(channel, payload.as_bytes()) else {
            panic!("no entries");
        };
        let numbers: Vec<_> = records.iter().map(|it| it.entry.seq).collect();
        assert_eq!(numbers, [7, 8]);
        let stored = Some(News::Stored(Position { seq: 8, epoch: 2 }));
        assert_eq!(news(channel, b"S 8 2"), stored);
        for bad in [&b""[..], b"X", b"S 8", b"E9:short", b"E:x", b"Ex:", b"E99"] {
            assert_eq!(news(channel, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_user_brings_joins_and_leaves() {
        let (channel, user) = (ChannelId::from_bytes(ID), UserId::from_bytes([1; 16]));
        let text = format!("L {} 9 3", record::hex(&ID));
        let left = Changed {
            channel,
            user,
            position: Position { seq: 9, epoch: 3 },
            joined: false,
        };
        assert_eq!(changed(user, text.as_bytes()), Some(left));
        assert_eq!(changed(user, b"L 9 3"), None);
        assert_eq!(epoch(b"15 4"), Some((Shard::numbered(15).unwrap(), 4)));
        assert_eq!(epoch(b"16 4"), None);
    }
}
