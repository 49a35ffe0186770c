//! How entries are written: a batch at once, together with the memberships that they change.
//!
//! The same batch may come again, after a crash between its commit and what should have followed.
//! So what is there already is passed over, compared, and changes no membership a second time.

mod membership;

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use uuid::Uuid;

use banter_protocol::entry::Kind;
use banter_protocol::id::{ChannelId, Position, Seq};
use banter_protocol::text::Username;

use super::super::{Conflict, Record, Standing};
use super::{kind, read_at};
use crate::error::{Error, Result};
use crate::postgres::row;

/// Writes `records`, those of a channel ascending, and the memberships that they begin and end,
/// within the caller's transaction. Tells which were not written because something stands there.
///
/// A membership in a channel that does not exist (it was abandoned before its first entry was
/// stored), or of an account that does not, is not kept: its entry is.
///
/// # Errors
/// [`Error::Corrupt`] when a record cannot be stored, whenever it is tried; [`Error::Unavailable`].
/// The transaction has failed then.
pub(crate) async fn write(
    connection: &mut PgConnection,
    records: &[Record],
) -> Result<Vec<Conflict>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let owners = owners(connection, records).await?;
    let mut columns = Columns::default();
    for record in records {
        columns.push(record, &owners);
    }
    let changes_members =
        |record: &&Record| matches!(record.entry.kind, Kind::Joined { .. } | Kind::Left { .. });
    if insert(connection, &columns).await? {
        membership::apply(connection, records.iter().filter(changes_members)).await?;
        return Ok(Vec::new());
    }
    let written = insert_what_is_not_there(connection, &columns).await?;
    let fresh = |record: &&Record| changes_members(record) && written.contains(&place(record));
    membership::apply(connection, records.iter().filter(fresh)).await?;
    compare(connection, records, &written).await
}

/// Where an entry stands, as the database writes it.
type Place = (Uuid, i64);

fn place(record: &Record) -> Place {
    let channel = uuid(record.entry.channel);
    (channel, row::stored(record.entry.seq))
}

fn uuid(channel: ChannelId) -> Uuid {
    Uuid::from_bytes(*channel.as_bytes())
}

/// The columns of a batch: one array each, whatever the number of rows.
#[derive(Default)]
struct Columns<'r> {
    channels: Vec<Uuid>,
    seqs: Vec<i64>,
    epochs: Vec<i64>,
    sent_at: Vec<i64>,
    kinds: Vec<i16>,
    accounts: Vec<Option<Uuid>>,
    by_accounts: Vec<Option<Uuid>>,
    ids: Vec<Option<&'r str>>,
    bodies: Vec<Option<&'r str>>,
}

impl<'r> Columns<'r> {
    fn push(&mut self, record: &'r Record, owners: &HashMap<String, Uuid>) {
        let (channel, seq) = place(record);
        let account = record.user.map(|user| Uuid::from_bytes(*user.as_bytes()));
        self.channels.push(channel);
        self.seqs.push(seq);
        self.epochs.push(row::stored(record.entry.epoch));
        self.sent_at.push(record.entry.sent_at.as_ms());
        self.accounts.push(account);
        let (kind, by, id, body) = match &record.entry.kind {
            Kind::Message { id, body, .. } => {
                (kind::MESSAGE, None, Some(id.as_str()), Some(body.as_str()))
            }
            Kind::Joined { .. } => (kind::JOINED, None, None, None),
            Kind::Left { by, .. } => (kind::LEFT, by.as_ref(), None, None),
            Kind::Tombstone => (kind::TOMBSTONE, None, None, None),
        };
        self.kinds.push(kind);
        self.by_accounts
            .push(by.and_then(|name| owners.get(name.as_str()).copied()));
        self.ids.push(id);
        self.bodies.push(body);
    }

    fn bound_to<'q>(&'q self, sql: &'static str) -> Query<'q, sqlx::Postgres, PgArguments> {
        sqlx::query(sql)
            .bind(&self.channels)
            .bind(&self.seqs)
            .bind(&self.epochs)
            .bind(&self.sent_at)
            .bind(&self.kinds)
            .bind(&self.accounts)
            .bind(&self.by_accounts)
            .bind(&self.ids)
            .bind(&self.bodies)
    }
}

macro_rules! insert_into_entries {
    ($rest:literal) => {
        concat!(
            "INSERT INTO entries \
               (channel, seq, epoch, sent_at, kind, account, by_account, id, body) \
             SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], \
               $5::smallint[], $6::uuid[], $7::uuid[], $8::text[], $9::text[]) ",
            $rest
        )
    };
}

/// Inserts a batch of which nothing is there, as nearly every batch is. `false`: something is, and
/// nothing was inserted. To look for it first, row by row, would double what a batch costs.
async fn insert(connection: &mut PgConnection, columns: &Columns<'_>) -> Result<bool> {
    // It is not released: the commit does that without another turn to the server.
    sqlx::raw_sql("SAVEPOINT batch")
        .execute(&mut *connection)
        .await?;
    let inserted = columns
        .bound_to(insert_into_entries!(""))
        .execute(&mut *connection)
        .await;
    match inserted {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT batch")
                .execute(connection)
                .await?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Inserts what is not there, and tells what that was.
async fn insert_what_is_not_there(
    connection: &mut PgConnection,
    columns: &Columns<'_>,
) -> Result<HashSet<Place>> {
    let inserted = columns
        .bound_to(insert_into_entries!(
            "ON CONFLICT DO NOTHING RETURNING channel, seq"
        ))
        .fetch_all(connection)
        .await?;
    let place = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    inserted.iter().map(place).collect()
}

/// The ids of the owners who removed somebody: the entries know their names only.
async fn owners(
    connection: &mut PgConnection,
    records: &[Record],
) -> Result<HashMap<String, Uuid>> {
    let names: HashSet<&str> = records
        .iter()
        .filter_map(|record| match &record.entry.kind {
            Kind::Left { by, .. } => by.as_ref().map(Username::as_str),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let found = sqlx::query("SELECT username, id FROM accounts WHERE username = ANY($1)")
        .bind(names.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let owner = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    found.iter().map(owner).collect()
}

/// What stands where `records` should, of those that were not written.
async fn compare(
    connection: &mut PgConnection,
    records: &[Record],
    written: &HashSet<Place>,
) -> Result<Vec<Conflict>> {
    let skipped: Vec<&Record> = records
        .iter()
        .filter(|record| !written.contains(&place(record)))
        .collect();
    let (channels, seqs): (Vec<Uuid>, Vec<i64>) = skipped.iter().map(|r| place(r)).unzip();
    let found = read_at(connection, &channels, &seqs).await?;
    let mut at: HashMap<Place, Record> = found.into_iter().map(|r| (place(&r), r)).collect();
    let elsewhere: Vec<&Record> = skipped
        .iter()
        .copied()
        .filter(|record| !at.contains_key(&place(record)))
        .collect();
    let mut sent = sent_before(connection, &elsewhere).await?.into_iter();
    let conflict = |record: &Record| {
        let standing = match at.remove(&place(record)) {
            Some(found) if found == *record => Standing::Same,
            Some(found) => Standing::Other(found),
            None => Standing::Sent(sent.next().flatten().ok_or_else(|| vanished(record))?),
        };
        Ok(Conflict {
            channel: record.entry.channel,
            seq: record.entry.seq,
            standing,
        })
    };
    skipped.into_iter().map(conflict).collect()
}

/// Where the messages' ids stand already, in the order of `records`.
async fn sent_before(
    connection: &mut PgConnection,
    records: &[&Record],
) -> Result<Vec<Option<Position>>> {
    const SQL: &str = "SELECT e.seq, e.epoch \
                       FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) WITH ORDINALITY \
                         AS sent (id, channel, account, place) \
                       LEFT JOIN entries AS e ON e.id = sent.id AND e.channel = sent.channel \
                         AND e.account = sent.account \
                       ORDER BY sent.place";
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let id = |record: &&Record| match &record.entry.kind {
        Kind::Message { id, .. } => Some(id.as_str().to_owned()),
        _ => None,
    };
    let account = |record: &&Record| record.user.map(|user| Uuid::from_bytes(*user.as_bytes()));
    let rows = sqlx::query(SQL)
        .bind(records.iter().map(id).collect::<Vec<_>>())
        .bind(
            records
                .iter()
                .map(|r| uuid(r.entry.channel))
                .collect::<Vec<_>>(),
        )
        .bind(records.iter().map(account).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let position = |found: &PgRow| {
        let seq: Option<i64> = found.try_get("seq")?;
        if seq.is_none() {
            return Ok(None);
        }
        Ok(Some(Position {
            seq: row::unsigned(found, "seq")?,
            epoch: row::unsigned(found, "epoch")?,
        }))
    };
    rows.iter().map(position).collect()
}

fn vanished(record: &Record) -> Error {
    let (channel, seq): (ChannelId, Seq) = (record.entry.channel, record.entry.seq);
    Error::Corrupt(format!(
        "channel {channel}: entry {seq} was refused, yet nothing stands in its way"
    ))
}
