//! Channels in PostgreSQL.

mod read;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use banter_protocol::id::{ChannelId, Seq, UserId};
use banter_protocol::text::ChannelName;
use banter_protocol::time::Timestamp;

use super::{Channel, Creation, Filter, Member, Membership, NewChannel, UNBORN_KEEPS_NAME_MS};
use crate::error::{Error, Result};
use crate::postgres::{Postgres, row};

/// See [`super::Channels`].
#[derive(Debug, Clone)]
pub(super) struct Channels {
    database: Postgres,
}

impl Channels {
    pub(super) const fn new(database: Postgres) -> Self {
        Self { database }
    }

    pub(super) async fn create(&self, new: &NewChannel) -> Result<Creation> {
        const SQL: &str = "INSERT INTO channels \
                             (id, name, name_key, topic, private, owner, created_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name_key) DO NOTHING";
        const FREE: &str = "DELETE FROM channels WHERE name_key = $1 AND created_at < $2 \
                            AND NOT EXISTS (SELECT 1 FROM entries WHERE channel = channels.id)";
        let key = (!new.private).then(|| new.name.folded());
        // The second try is for a name that only an unborn channel holds.
        for second in [false, true] {
            let inserted = sqlx::query(SQL)
                .bind(uuid(new.id))
                .bind(new.name.as_str())
                .bind(key.as_deref())
                .bind(new.topic.as_str())
                .bind(new.private)
                .bind(user_uuid(new.owner))
                .bind(new.created_at.as_ms())
                .execute(self.database.pool())
                .await?;
            if inserted.rows_affected() == 1 {
                return Ok(Creation::Created);
            }
            if second {
                break;
            }
            let freed = sqlx::query(FREE)
                .bind(key.as_deref())
                .bind(new.created_at.as_ms() - UNBORN_KEEPS_NAME_MS)
                .execute(self.database.pool())
                .await;
            if !deleted(freed)? {
                break;
            }
        }
        Ok(Creation::NameTaken)
    }

    pub(super) async fn abandon(&self, channel: ChannelId) -> Result<bool> {
        const SQL: &str = "DELETE FROM channels WHERE id = $1 \
                           AND NOT EXISTS (SELECT 1 FROM entries WHERE channel = $1)";
        let abandoned = sqlx::query(SQL)
            .bind(uuid(channel))
            .execute(self.database.pool())
            .await;
        deleted(abandoned)
    }

    pub(super) async fn seen_by(
        &self,
        viewer: UserId,
        channel: ChannelId,
    ) -> Result<Option<Channel>> {
        sqlx::query(read::ONE)
            .bind(user_uuid(viewer))
            .bind(uuid(channel))
            .fetch_optional(self.database.pool())
            .await?
            .as_ref()
            .map(read::channel)
            .transpose()
    }

    pub(super) async fn list(
        &self,
        viewer: UserId,
        filter: &Filter,
        after: Option<ChannelId>,
        limit: u32,
    ) -> Result<Vec<Channel>> {
        let name = filter.name.as_deref();
        let query = match (filter.joined, name) {
            (true, _) => sqlx::query(read::JOINED),
            (false, Some(_)) => sqlx::query(read::NAMED),
            (false, None) => sqlx::query(read::ALL),
        };
        let query = query
            .bind(user_uuid(viewer))
            .bind(after.map_or_else(Uuid::nil, uuid))
            .bind(i64::from(limit));
        let query = match (filter.joined, name) {
            (true, name) => query.bind(name),
            (false, Some(text)) => query
                .bind(text)
                .bind(ChannelName::from_stored(text).folded()),
            (false, None) => query,
        };
        let found = query.fetch_all(self.database.pool()).await?;
        found.iter().map(read::channel).collect()
    }

    pub(super) async fn membership(
        &self,
        channel: ChannelId,
        user: UserId,
    ) -> Result<Option<Membership>> {
        const SQL: &str = "SELECT seq, epoch, since FROM members \
                           WHERE channel = $1 AND account = $2";
        let found = sqlx::query(SQL)
            .bind(uuid(channel))
            .bind(user_uuid(user))
            .fetch_optional(self.database.pool())
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
        const SQL: &str = "SELECT m.account, m.since, a.username, \
                                  m.account IS NOT DISTINCT FROM c.owner AS owner \
                           FROM members AS m JOIN channels AS c ON c.id = m.channel \
                           JOIN accounts AS a ON a.id = m.account \
                           WHERE m.channel = $1 AND m.account > $2 \
                           ORDER BY m.account LIMIT $3";
        let found = sqlx::query(SQL)
            .bind(uuid(channel))
            .bind(after.map_or_else(Uuid::nil, user_uuid))
            .bind(i64::from(limit))
            .fetch_all(self.database.pool())
            .await?;
        found.iter().map(read::member).collect()
    }

    pub(super) async fn joined(&self, user: UserId) -> Result<Vec<(ChannelId, Seq)>> {
        const SQL: &str = "SELECT m.channel, e.seq FROM members AS m \
                           JOIN LATERAL (SELECT seq FROM entries WHERE channel = m.channel \
                                         ORDER BY seq DESC LIMIT 1) AS e ON true \
                           WHERE m.account = $1 ORDER BY m.channel";
        let found = sqlx::query(SQL)
            .bind(user_uuid(user))
            .fetch_all(self.database.pool())
            .await?;
        let head = |found: &PgRow| {
            let channel = ChannelId::from_bytes(row::id(found, "channel")?);
            Ok((channel, row::unsigned(found, "seq")?))
        };
        found.iter().map(head).collect()
    }

    pub(super) async fn count_joined(&self, user: UserId) -> Result<usize> {
        let found = sqlx::query("SELECT count(*) AS n FROM members WHERE account = $1")
            .bind(user_uuid(user))
            .fetch_one(self.database.pool())
            .await?;
        Ok(usize::try_from(row::unsigned(&found, "n")?).unwrap_or(usize::MAX))
    }

    pub(super) async fn bar(&self, channel: ChannelId, user: UserId) -> Result<()> {
        let sql = "INSERT INTO barred (channel, account) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.write(sql, channel, user).await
    }

    pub(super) async fn unbar(&self, channel: ChannelId, user: UserId) -> Result<()> {
        let sql = "DELETE FROM barred WHERE channel = $1 AND account = $2";
        self.write(sql, channel, user).await
    }

    pub(super) async fn is_barred(&self, channel: ChannelId, user: UserId) -> Result<bool> {
        let found = sqlx::query("SELECT 1 FROM barred WHERE channel = $1 AND account = $2")
            .bind(uuid(channel))
            .bind(user_uuid(user))
            .fetch_optional(self.database.pool())
            .await?;
        Ok(found.is_some())
    }

    async fn write(&self, sql: &'static str, channel: ChannelId, user: UserId) -> Result<()> {
        sqlx::query(sql)
            .bind(uuid(channel))
            .bind(user_uuid(user))
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}

fn uuid(channel: ChannelId) -> Uuid {
    Uuid::from_bytes(*channel.as_bytes())
}

fn user_uuid(user: UserId) -> Uuid {
    Uuid::from_bytes(*user.as_bytes())
}

/// Whether a channel without entries was deleted. A reference to it is its first member's, written
/// with its first entry while the deletion waited.
fn deleted(outcome: sqlx::Result<sqlx::postgres::PgQueryResult>) -> Result<bool> {
    match outcome {
        Ok(done) => Ok(done.rows_affected() == 1),
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => Ok(false),
        Err(error) => Err(Error::from(error)),
    }
}
