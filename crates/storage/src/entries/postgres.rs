//! Entries in PostgreSQL.

mod write;

pub(crate) use write::write;

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};
use banter_protocol::text::Body;
use banter_protocol::time::Timestamp;
use uuid::Uuid;

use super::Record;
use crate::error::{Error, Result};
use crate::postgres::{Postgres, row};

/// How `entries.kind` tells the kinds apart.
mod kind {
    pub(super) const MESSAGE: i16 = 1;
    pub(super) const JOINED: i16 = 2;
    pub(super) const LEFT: i16 = 3;
    pub(super) const TOMBSTONE: i16 = 4;
}

/// Entries with their users' names, of table `e`.
macro_rules! records_from {
    ($rest:literal) => {
        concat!(
            "SELECT e.channel, e.seq, e.epoch, e.sent_at, e.kind, e.id, e.body, e.account, \
                    u.username, b.username AS by_username ",
            $rest
        )
    };
}

/// See [`super::Entries`].
#[derive(Debug, Clone)]
pub struct Entries {
    database: Postgres,
}

impl Entries {
    pub(super) const fn new(database: Postgres) -> Self {
        Self { database }
    }

    pub(super) async fn range(
        &self,
        channel: ChannelId,
        after: Seq,
        up_to: Seq,
        limit: u32,
    ) -> Result<Vec<Record>> {
        const SQL: &str = records_from!(
            "FROM entries AS e \
             LEFT JOIN accounts AS u ON u.id = e.account \
             LEFT JOIN accounts AS b ON b.id = e.by_account \
             WHERE e.channel = $1 AND e.seq > $2 AND e.seq <= $3 ORDER BY e.seq LIMIT $4"
        );
        sqlx::query(SQL)
            .bind(Uuid::from_bytes(*channel.as_bytes()))
            .bind(row::stored(after))
            .bind(row::stored(up_to))
            .bind(i64::from(limit))
            .fetch_all(self.database.pool())
            .await?
            .iter()
            .map(read_record)
            .collect()
    }

    pub(super) async fn is_reachable(&self) -> bool {
        sqlx::query("SELECT 1")
            .execute(self.database.pool())
            .await
            .is_ok()
    }

    pub(super) async fn head(&self, channel: ChannelId) -> Result<Position> {
        const SQL: &str = "SELECT seq, epoch FROM ( \
                             (SELECT seq, epoch FROM entries WHERE channel = $1 \
                              ORDER BY seq DESC LIMIT 1) \
                             UNION ALL SELECT 0, epoch FROM shards WHERE shard = $2 \
                           ) AS heads ORDER BY seq DESC LIMIT 1";
        let found = sqlx::query(SQL)
            .bind(Uuid::from_bytes(*channel.as_bytes()))
            .bind(shard(channel))
            .fetch_one(self.database.pool())
            .await?;
        Ok(Position {
            seq: row::unsigned(&found, "seq")?,
            epoch: row::unsigned(&found, "epoch")?,
        })
    }

    pub(super) async fn epoch_of(&self, channel: ChannelId, seq: Seq) -> Result<Option<Epoch>> {
        sqlx::query("SELECT epoch FROM entries WHERE channel = $1 AND seq = $2")
            .bind(Uuid::from_bytes(*channel.as_bytes()))
            .bind(row::stored(seq))
            .fetch_optional(self.database.pool())
            .await?
            .map(|found| row::unsigned(&found, "epoch"))
            .transpose()
    }
}

/// The shard of a channel: the end of a `UUIDv7` is random.
fn shard(channel: ChannelId) -> i16 {
    i16::from(channel.as_bytes()[15] & 15)
}

/// The entries at these places, where there are any.
async fn read_at(
    connection: &mut PgConnection,
    channels: &[Uuid],
    seqs: &[i64],
) -> Result<Vec<Record>> {
    const SQL: &str = records_from!(
        "FROM UNNEST($1::uuid[], $2::bigint[]) AS place (channel, seq) \
         JOIN entries AS e ON e.channel = place.channel AND e.seq = place.seq \
         LEFT JOIN accounts AS u ON u.id = e.account \
         LEFT JOIN accounts AS b ON b.id = e.by_account"
    );
    sqlx::query(SQL)
        .bind(channels)
        .bind(seqs)
        .fetch_all(connection)
        .await?
        .iter()
        .map(read_record)
        .collect()
}

fn read_record(found: &PgRow) -> Result<Record> {
    let kind = match found.try_get("kind")? {
        kind::MESSAGE => Kind::Message {
            id: text(found, "id")?
                .parse()
                .map_err(|_| Error::Corrupt("entries.id: not a message id".into()))?,
            author: row::username(found, "username")?,
            body: Body::from_stored(text(found, "body")?),
        },
        kind::JOINED => Kind::Joined {
            user: row::username(found, "username")?,
        },
        kind::LEFT => Kind::Left {
            user: row::username(found, "username")?,
            by: row::optional_username(found, "by_username")?,
        },
        kind::TOMBSTONE => Kind::Tombstone,
        other => return Err(Error::Corrupt(format!("entries.kind: unknown {other}"))),
    };
    let entry = Entry {
        channel: ChannelId::from_bytes(row::id(found, "channel")?),
        seq: row::unsigned(found, "seq")?,
        epoch: row::unsigned(found, "epoch")?,
        sent_at: Timestamp::from_ms(found.try_get("sent_at")?),
        kind,
    };
    let user = row::optional_id(found, "account")?.map(UserId::from_bytes);
    Ok(Record { entry, user })
}

fn text<'r>(found: &'r PgRow, column: &str) -> Result<&'r str> {
    let text: Option<&str> = found.try_get(column)?;
    text.ok_or_else(|| row::absent(column))
}
