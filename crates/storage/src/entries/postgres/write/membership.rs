//! The memberships and owners that entries change.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use banter_protocol::entry::Kind;

use super::{place, uuid};
use crate::entries::Record;
use crate::error::Result;
use crate::postgres::row;

/// What a batch does to one account's membership of one channel.
#[derive(Default)]
struct Change<'r> {
    /// Whether a membership from before ends.
    left: bool,
    /// The entry that begins the membership which stands at the end.
    joined: Option<&'r Record>,
}

/// Applies entries that were just written: only what they come to, for a crowd that joins in one
/// batch must not cost a statement each.
pub(super) async fn apply<'r>(
    connection: &mut PgConnection,
    records: impl Iterator<Item = &'r Record>,
) -> Result<()> {
    let mut changes: HashMap<(Uuid, Uuid), Change<'r>> = HashMap::new();
    for record in records {
        let Some(user) = record.user else { continue };
        let key = (
            uuid(record.entry.channel),
            Uuid::from_bytes(*user.as_bytes()),
        );
        let change = changes.entry(key).or_default();
        match record.entry.kind {
            // Who is a member stays one from the first entry that said so.
            Kind::Joined { .. } => change.joined = change.joined.or(Some(record)),
            Kind::Left { .. } => {
                *change = Change {
                    left: true,
                    joined: None,
                };
            }
            Kind::Message { .. } | Kind::Tombstone => {}
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    let channels: HashSet<Uuid> = changes.keys().map(|(channel, _)| *channel).collect();
    let channels: Vec<Uuid> = channels.into_iter().collect();
    lock(connection, &channels).await?;
    let left: Vec<(Uuid, Uuid)> = changes
        .iter()
        .filter(|(_, change)| change.left)
        .map(|(key, _)| *key)
        .collect();
    remove(connection, &left).await?;
    add(connection, &changes).await?;
    pass_on(connection, &channels, &left).await
}

/// Keeps the channels from being abandoned meanwhile.
async fn lock(connection: &mut PgConnection, channels: &[Uuid]) -> Result<()> {
    const SQL: &str = "SELECT 1 FROM channels WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
    sqlx::query(SQL).bind(channels).execute(connection).await?;
    Ok(())
}

async fn remove(connection: &mut PgConnection, left: &[(Uuid, Uuid)]) -> Result<()> {
    const SQL: &str = "DELETE FROM members AS m \
                       USING UNNEST($1::uuid[], $2::uuid[]) AS gone (channel, account) \
                       WHERE m.channel = gone.channel AND m.account = gone.account";
    if left.is_empty() {
        return Ok(());
    }
    let (channels, accounts): (Vec<Uuid>, Vec<Uuid>) = left.iter().copied().unzip();
    sqlx::query(SQL)
        .bind(channels)
        .bind(accounts)
        .execute(connection)
        .await?;
    Ok(())
}

async fn add(
    connection: &mut PgConnection,
    changes: &HashMap<(Uuid, Uuid), Change<'_>>,
) -> Result<()> {
    const SQL: &str = "INSERT INTO members (channel, account, seq, epoch, since) \
                       SELECT n.channel, n.account, n.seq, n.epoch, n.since \
                       FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], \
                         $5::bigint[]) AS n (channel, account, seq, epoch, since) \
                       JOIN channels AS c ON c.id = n.channel \
                       JOIN accounts AS a ON a.id = n.account \
                       ON CONFLICT (channel, account) DO NOTHING";
    let joined: Vec<(Uuid, &Record)> = changes
        .iter()
        .filter_map(|((_, account), change)| Some((*account, change.joined?)))
        .collect();
    if joined.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Record) -> i64| joined.iter().map(|(_, r)| of(r)).collect::<Vec<_>>();
    sqlx::query(SQL)
        .bind(joined.iter().map(|(_, r)| place(r).0).collect::<Vec<_>>())
        .bind(
            joined
                .iter()
                .map(|(account, _)| *account)
                .collect::<Vec<_>>(),
        )
        .bind(column(|record| place(record).1))
        .bind(column(|record| row::stored(record.entry.epoch)))
        .bind(column(|record| record.entry.sent_at.as_ms()))
        .execute(connection)
        .await?;
    Ok(())
}

/// Channels that nobody owns, or whose owner has left (even to come back), belong to their
/// longest-standing member that is no webhook. Taking the entries one by one ends with the same
/// owner: each time one passes a channel on, it is to the oldest of those who are there.
async fn pass_on(
    connection: &mut PgConnection,
    channels: &[Uuid],
    left: &[(Uuid, Uuid)],
) -> Result<()> {
    const SQL: &str = "UPDATE channels SET owner = \
                         (SELECT account FROM members WHERE channel = channels.id \
                            AND account NOT IN \
                              (SELECT account FROM webhooks WHERE channel = channels.id) \
                          ORDER BY seq LIMIT 1) \
                       WHERE id = ANY($1) AND (owner IS NULL OR (id, owner) IN \
                         (SELECT * FROM UNNEST($2::uuid[], $3::uuid[])))";
    let (left_channels, left_accounts): (Vec<Uuid>, Vec<Uuid>) = left.iter().copied().unzip();
    sqlx::query(SQL)
        .bind(channels)
        .bind(left_channels)
        .bind(left_accounts)
        .execute(connection)
        .await?;
    Ok(())
}
