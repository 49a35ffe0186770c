//! Channels in the embedded database.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, Position, Seq, UserId};
use banter_protocol::text::{ChannelName, Topic};
use banter_protocol::time::Timestamp;

use super::{Channel, Creation, Filter, Member, Membership, NewChannel, UNBORN_KEEPS_NAME_MS};
use crate::error::Result;
use crate::sqlite::{Sqlite, row};

/// Channels as account `?1` sees them, of those whose ids the inner query yields. A channel without
/// an entry has no head, and so is left out.
macro_rules! channels_where {
    ($ids:literal) => {
        concat!(
            "SELECT c.id, c.name, c.topic, c.private, c.created_at, c.owner, a.username, \
                    e.seq, e.epoch, m.user IS NOT NULL AS joined \
             FROM (",
            $ids,
            ") AS v \
             JOIN channels AS c ON c.id = v.id \
             JOIN entries AS e ON e.channel = c.id \
               AND e.seq = (SELECT max(seq) FROM entries WHERE channel = c.id) \
             LEFT JOIN accounts AS a ON a.id = c.owner \
             LEFT JOIN members AS m ON m.channel = c.id AND m.user = ?1 \
             ORDER BY c.id"
        )
    };
}

const ONE: &str = channels_where!(
    "SELECT id FROM channels WHERE id = ?2 AND (private = 0 \
     OR EXISTS (SELECT 1 FROM members WHERE channel = ?2 AND user = ?1))"
);

const ALL: &str = channels_where!(
    "SELECT p.id FROM channels AS p WHERE p.private = 0 AND p.id > ?2 \
       AND EXISTS (SELECT 1 FROM entries WHERE channel = p.id) \
     UNION ALL \
     SELECT o.channel FROM members AS o JOIN channels AS p ON p.id = o.channel \
     WHERE o.user = ?1 AND o.channel > ?2 AND p.private = 1 \
     ORDER BY 1 LIMIT ?3"
);

/// Public names are found by their folded form (`?5`), which is unique.
const NAMED: &str = channels_where!(
    "SELECT p.id FROM channels AS p WHERE p.name_key = ?5 AND p.name = ?4 AND p.id > ?2 \
       AND EXISTS (SELECT 1 FROM entries WHERE channel = p.id) \
     UNION ALL \
     SELECT o.channel FROM members AS o JOIN channels AS p ON p.id = o.channel \
     WHERE o.user = ?1 AND o.channel > ?2 AND p.private = 1 AND p.name = ?4 \
     ORDER BY 1 LIMIT ?3"
);

const JOINED: &str = channels_where!(
    "SELECT o.channel AS id FROM members AS o JOIN channels AS p ON p.id = o.channel \
     WHERE o.user = ?1 AND o.channel > ?2 AND (?4 IS NULL OR p.name = ?4) \
     ORDER BY 1 LIMIT ?3"
);

/// See [`super::Channels`].
#[derive(Debug, Clone)]
pub(super) struct Channels {
    database: Sqlite,
}

impl Channels {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }

    pub(super) async fn create(&self, new: &NewChannel) -> Result<Creation> {
        let key = (!new.private).then(|| new.name.folded());
        let mut writer = self.database.writer().await;
        // The second try is for a name that only an unborn channel holds.
        for second in [false, true] {
            let inserted = sqlx::query(
                "INSERT INTO channels (id, name, name_key, topic, private, owner, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name_key) DO NOTHING",
            )
            .bind(&new.id.as_bytes()[..])
            .bind(new.name.as_str())
            .bind(key.as_deref())
            .bind(new.topic.as_str())
            .bind(new.private)
            .bind(&new.owner.as_bytes()[..])
            .bind(new.created_at.as_ms())
            .execute(&mut *writer)
            .await?;
            if inserted.rows_affected() == 1 {
                return Ok(Creation::Created);
            }
            if second {
                break;
            }
            let freed = sqlx::query(
                "DELETE FROM channels WHERE name_key = ?1 AND created_at < ?2 \
                 AND NOT EXISTS (SELECT 1 FROM entries WHERE channel = channels.id)",
            )
            .bind(key.as_deref())
            .bind(new.created_at.as_ms() - UNBORN_KEEPS_NAME_MS)
            .execute(&mut *writer)
            .await?;
            if freed.rows_affected() == 0 {
                break;
            }
        }
        Ok(Creation::NameTaken)
    }

    pub(super) async fn abandon(&self, channel: ChannelId) -> Result<bool> {
        let mut writer = self.database.writer().await;
        let deleted = sqlx::query(
            "DELETE FROM channels WHERE id = ?1 \
             AND NOT EXISTS (SELECT 1 FROM entries WHERE channel = ?1)",
        )
        .bind(&channel.as_bytes()[..])
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected() == 1)
    }

    pub(super) async fn seen_by(
        &self,
        viewer: UserId,
        channel: ChannelId,
    ) -> Result<Option<Channel>> {
        sqlx::query(ONE)
            .bind(&viewer.as_bytes()[..])
            .bind(&channel.as_bytes()[..])
            .fetch_optional(self.database.readers())
            .await?
            .as_ref()
            .map(read_channel)
            .transpose()
    }

    pub(super) async fn list(
        &self,
        viewer: UserId,
        filter: &Filter,
        after: Option<ChannelId>,
        limit: u32,
    ) -> Result<Vec<Channel>> {
        let sql = match filter {
            Filter { joined: true, .. } => JOINED,
            Filter { name: Some(_), .. } => NAMED,
            Filter { .. } => ALL,
        };
        let name = filter.name.as_deref();
        let after = after.as_ref().map_or(&[][..], |id| &id.as_bytes()[..]);
        sqlx::query(sql)
            .bind(&viewer.as_bytes()[..])
            .bind(after)
            .bind(limit)
            .bind(name)
            .bind(name.map(|text| ChannelName::from_stored(text).folded()))
            .fetch_all(self.database.readers())
            .await?
            .iter()
            .map(read_channel)
            .collect()
    }

    pub(super) async fn membership(
        &self,
        channel: ChannelId,
        user: UserId,
    ) -> Result<Option<Membership>> {
        let found =
            sqlx::query("SELECT seq, epoch, since FROM members WHERE channel = ?1 AND user = ?2")
                .bind(&channel.as_bytes()[..])
                .bind(&user.as_bytes()[..])
                .fetch_optional(self.database.readers())
                .await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Membership {
            seq: row::unsigned(&found, "seq")?,
            epoch: row::unsigned(&found, "epoch")?,
            since: Timestamp::from_ms(found.try_get("since")?),
        }))
    }

    pub(super) async fn members(
        &self,
        channel: ChannelId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Member>> {
        let after = after.as_ref().map_or(&[][..], |id| &id.as_bytes()[..]);
        sqlx::query(
            "SELECT m.user, m.since, a.username, m.user IS c.owner AS owner \
             FROM members AS m JOIN channels AS c ON c.id = m.channel \
             LEFT JOIN accounts AS a ON a.id = m.user \
             WHERE m.channel = ?1 AND m.user > ?2 ORDER BY m.user LIMIT ?3",
        )
        .bind(&channel.as_bytes()[..])
        .bind(after)
        .bind(limit)
        .fetch_all(self.database.readers())
        .await?
        .iter()
        .map(read_member)
        .collect()
    }

    pub(super) async fn joined(&self, user: UserId) -> Result<Vec<(ChannelId, Seq)>> {
        let sql = "SELECT channel,
                     (SELECT max(seq) FROM entries WHERE entries.channel = members.channel) AS head
                   FROM members WHERE user = ?1 ORDER BY channel";
        sqlx::query(sql)
            .bind(&user.as_bytes()[..])
            .fetch_all(self.database.readers())
            .await?
            .iter()
            .map(|found| {
                let channel = ChannelId::from_bytes(row::id(found, "channel")?);
                Ok((channel, row::unsigned(found, "head")?))
            })
            .collect()
    }

    pub(super) async fn count_joined(&self, user: UserId) -> Result<usize> {
        let found = sqlx::query("SELECT count(*) AS n FROM members WHERE user = ?1")
            .bind(&user.as_bytes()[..])
            .fetch_one(self.database.readers())
            .await?;
        Ok(usize::try_from(row::unsigned(&found, "n")?).unwrap_or(usize::MAX))
    }

    pub(super) async fn bar(&self, channel: ChannelId, user: UserId) -> Result<()> {
        let sql = "INSERT INTO barred (channel, user) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.write(sql, channel, user).await
    }

    pub(super) async fn unbar(&self, channel: ChannelId, user: UserId) -> Result<()> {
        let sql = "DELETE FROM barred WHERE channel = ?1 AND user = ?2";
        self.write(sql, channel, user).await
    }

    pub(super) async fn is_barred(&self, channel: ChannelId, user: UserId) -> Result<bool> {
        let found = sqlx::query("SELECT 1 FROM barred WHERE channel = ?1 AND user = ?2")
            .bind(&channel.as_bytes()[..])
            .bind(&user.as_bytes()[..])
            .fetch_optional(self.database.readers())
            .await?;
        Ok(found.is_some())
    }

    async fn write(&self, sql: &'static str, channel: ChannelId, user: UserId) -> Result<()> {
        let mut writer = self.database.writer().await;
        sqlx::query(sql)
            .bind(&channel.as_bytes()[..])
            .bind(&user.as_bytes()[..])
            .execute(&mut *writer)
            .await?;
        Ok(())
    }
}

fn read_channel(found: &SqliteRow) -> Result<Channel> {
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

fn read_member(found: &SqliteRow) -> Result<Member> {
    Ok(Member {
        id: UserId::from_bytes(row::id(found, "user")?),
        username: row::username(found, "username")?,
        owner: found.try_get("owner")?,
        since: Timestamp::from_ms(found.try_get("since")?),
    })
}
