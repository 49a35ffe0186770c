//! The queries that show channels, and what their rows mean.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, Position, UserId};
use banter_protocol::text::{ChannelName, Topic};
use banter_protocol::time::Timestamp;

use super::super::{Channel, Member};
use crate::error::Result;
use crate::postgres::row;

/// Channel `c` and its head `e`: a channel without an entry is left out. The limit in the inner
/// query keeps the planner from joining with all entries there are.
macro_rules! with_heads {
    ($from:literal, $rest:literal) => {
        concat!(
            "(SELECT c.id, c.name, c.topic, c.private, c.created_at, c.owner, e.seq, e.epoch ",
            $from,
            " JOIN LATERAL (SELECT seq, epoch FROM entries WHERE channel = c.id \
                            ORDER BY seq DESC LIMIT 1) AS e ON true ",
            $rest,
            ")"
        )
    };
}

/// Channels `v` as account `$1` sees them.
macro_rules! seen {
    ($channels:expr, $rest:literal) => {
        concat!(
            "SELECT v.*, a.username, m.account IS NOT NULL AS joined FROM (",
            $channels,
            ") AS v LEFT JOIN accounts AS a ON a.id = v.owner \
             LEFT JOIN members AS m ON m.channel = v.id AND m.account = $1 ORDER BY v.id ",
            $rest
        )
    };
}

pub(super) const ONE: &str = seen!(
    with_heads!(
        "FROM channels AS c",
        "WHERE c.id = $2 AND (NOT c.private \
         OR EXISTS (SELECT 1 FROM members WHERE channel = $2 AND account = $1))"
    ),
    ""
);

pub(super) const ALL: &str = seen!(
    concat!(
        with_heads!(
            "FROM channels AS c",
            "WHERE NOT c.private AND c.id > $2 ORDER BY c.id LIMIT $3"
        ),
        " UNION ALL ",
        with_heads!(
            "FROM members AS o JOIN channels AS c ON c.id = o.channel",
            "WHERE o.account = $1 AND o.channel > $2 AND c.private ORDER BY o.channel LIMIT $3"
        )
    ),
    "LIMIT $3"
);

/// Public names are found by their folded form (`$5`), which is unique.
pub(super) const NAMED: &str = seen!(
    concat!(
        with_heads!(
            "FROM channels AS c",
            "WHERE c.name_key = $5 AND c.name = $4 AND c.id > $2"
        ),
        " UNION ALL ",
        with_heads!(
            "FROM members AS o JOIN channels AS c ON c.id = o.channel",
            "WHERE o.account = $1 AND o.channel > $2 AND c.private AND c.name = $4 \
             ORDER BY o.channel LIMIT $3"
        )
    ),
    "LIMIT $3"
);

pub(super) const JOINED: &str = seen!(
    with_heads!(
        "FROM members AS o JOIN channels AS c ON c.id = o.channel",
        "WHERE o.account = $1 AND o.channel > $2 AND ($4::text IS NULL OR c.name = $4) \
         ORDER BY o.channel LIMIT $3"
    ),
    ""
);

pub(super) fn channel(found: &PgRow) -> Result<Channel> {
    let owner = match row::optional_id(found, "owner")? {
        None => None,
        Some(id) => Some(User {
            id: UserId::from_bytes(id),
            username: row::username(found, "username")?,
        }),
    };
    Ok(Channel {
        id: ChannelId::from_bytes(row::id(found, "id")?),
        name: ChannelName::from_stored(found.try_get::<&str, _>("name")?),
        topic: Topic::from_stored(found.try_get::<&str, _>("topic")?),
        private: found.try_get("private")?,
        owner,
        created_at: Timestamp::from_ms(found.try_get("created_at")?),
        head: Position {
            seq: row::unsigned(found, "seq")?,
            epoch: row::unsigned(found, "epoch")?,
        },
        joined: found.try_get("joined")?,
    })
}

pub(super) fn member(found: &PgRow) -> Result<Member> {
    Ok(Member {
        id: UserId::from_bytes(row::id(found, "account")?),
        username: row::username(found, "username")?,
        owner: found.try_get("owner")?,
        since: Timestamp::from_ms(found.try_get("since")?),
    })
}
