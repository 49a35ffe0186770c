//! A database of its own for a test, and what is in it before.

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::id::{ChannelId, Seq, UserId};
use banter_protocol::text::{Body, ChannelName, Topic, Username};
use banter_protocol::time::Timestamp;
use banter_storage::accounts::{Accounts, NewAccount};
use banter_storage::channels::{Channels, Creation, NewChannel};
use banter_storage::entries::{Entries, Record, import};
use banter_storage::postgres::Role;
use banter_storage::{Database, Postgres, Sqlite};
use sqlx::Executor as _;
use tempfile::TempDir;

use crate::servers::postgres::shared;

/// Makes each function a test on every kind of database. One that is not listed is reported as
/// unused.
macro_rules! on_every_database {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::fixture::Fixture::sqlite().await).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::fixture::Fixture::postgres().await).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_database;

/// A database with the schema, and nothing else.
pub(crate) struct Fixture {
    /// As the server opens it.
    pub(crate) database: Database,
    raw: Raw,
    /// Where a file lies.
    _directory: Option<TempDir>,
}

/// What reaches the tables directly: for what no store does, such as damage.
enum Raw {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool, Postgres),
}

/// The channel whose id consists of `n`s.
pub(crate) fn channel(n: u8) -> ChannelId {
    ChannelId::from_bytes([n; 16])
}

/// A channel to make.
pub(crate) fn new_channel(n: u8, name: &str, private: bool, owner: UserId) -> NewChannel {
    NewChannel {
        id: channel(n),
        name: ChannelName::parse(name).unwrap(),
        topic: Topic::parse("").unwrap(),
        private,
        owner,
        created_at: Timestamp::from_ms(1_000_000),
    }
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("banter.db");
        let database = Sqlite::open(&path).await.unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        Self {
            database: database.into(),
            raw: Raw::Sqlite(sqlx::SqlitePool::connect_lazy_with(options)),
            _directory: Some(directory),
        }
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(&shared().database(false).await).await
    }

    /// On the database at this address.
    pub(crate) async fn at(url: &str) -> Self {
        let database = Postgres::open(url, Role::Gateway).await.unwrap();
        Self {
            database: database.clone().into(),
            raw: Raw::Postgres(sqlx::PgPool::connect_lazy(url).unwrap(), database),
            _directory: None,
        }
    }

    /// Runs a statement that both databases understand.
    pub(crate) async fn execute(&self, sql: &'static str) {
        match &self.raw {
            Raw::Sqlite(pool) => drop(pool.execute(sql).await.unwrap()),
            Raw::Postgres(pool, _) => drop(pool.execute(sql).await.unwrap()),
        }
    }

    /// Changes the epoch that new entries are written under.
    pub(crate) async fn set_epoch_3(&self) {
        let sql = match &self.raw {
            Raw::Sqlite(_) => "UPDATE epoch SET epoch = 3",
            Raw::Postgres(..) => "UPDATE shards SET epoch = 3, installed = 3",
        };
        self.execute(sql).await;
    }

    /// Makes an account whose id consists of `n`s.
    pub(crate) async fn account(&self, n: u8, username: &str) -> UserId {
        let account = NewAccount {
            id: UserId::from_bytes([n; 16]),
            username: Username::parse(username).unwrap(),
            password: String::new(),
            created_at: Timestamp::from_ms(0),
        };
        let accounts = Accounts::new(&self.database);
        assert!(accounts.create(&account, None).await.unwrap());
        account.id
    }

    /// Makes a channel with its first entry.
    pub(crate) async fn make(&self, n: u8, name: &str, private: bool, owner: UserId) {
        let new = new_channel(n, name, private, owner);
        let made = Channels::new(&self.database).create(&new).await.unwrap();
        assert_eq!(made, Creation::Created);
        self.join(channel(n), owner).await;
    }

    /// Makes `user` a member.
    pub(crate) async fn join(&self, channel: ChannelId, user: UserId) {
        let (seq, name) = (self.next(channel).await, self.name(user).await);
        let joined = record(channel, seq, 7, Some(user), Kind::Joined { user: name });
        self.write(&[joined]).await;
    }

    /// Writes `count` further messages of `user`.
    pub(crate) async fn say(&self, channel: ChannelId, user: UserId, count: u64) {
        let (first, name) = (self.next(channel).await, self.name(user).await);
        let said = |n| {
            let seq = first + n - 1;
            let kind = Kind::Message {
                id: format!("id-{seq}").parse().unwrap(),
                author: name.clone(),
                body: Body::parse(&format!("body {n}")).unwrap(),
            };
            record(
                channel,
                seq,
                1000 * i64::try_from(n).unwrap(),
                Some(user),
                kind,
            )
        };
        self.write(&(1..=count).map(said).collect::<Vec<_>>()).await;
    }

    /// Writes entries, with the memberships that they begin. A file's log numbers for itself, so
    /// what it would not write goes past it.
    pub(crate) async fn write(&self, records: &[Record]) {
        match &self.raw {
            Raw::Postgres(_, database) => {
                assert_eq!(import(database, records).await.unwrap(), []);
            }
            Raw::Sqlite(pool) => {
                for record in records {
                    write_sqlite(pool, record).await;
                }
            }
        }
    }

    async fn next(&self, channel: ChannelId) -> Seq {
        let entries = Entries::new(&self.database);
        entries.head(channel).await.unwrap().seq + 1
    }

    /// The name of an account.
    pub(crate) async fn name(&self, user: UserId) -> Username {
        let account = Accounts::new(&self.database).by_id(user).await.unwrap();
        account.unwrap().username
    }
}

/// An entry of epoch 1.
pub(crate) fn record(
    channel: ChannelId,
    seq: Seq,
    sent_at: i64,
    user: Option<UserId>,
    kind: Kind,
) -> Record {
    let entry = Entry {
        channel,
        seq,
        epoch: 1,
        sent_at: Timestamp::from_ms(sent_at),
        kind,
    };
    Record { entry, user }
}

async fn write_sqlite(pool: &sqlx::SqlitePool, record: &Record) {
    let entry = &record.entry;
    let (kind, id, body, by) = match &entry.kind {
        Kind::Message { id, body, .. } => (1, Some(id.as_str()), Some(body.as_str()), None),
        Kind::Joined { .. } => (2, None, None, None),
        Kind::Left { by, .. } => (3, None, None, by.as_ref().map(Username::as_str)),
        Kind::Tombstone => (4, None, None, None),
    };
    let mut statements = vec![
        "INSERT INTO entries (channel, seq, user, epoch, sent_at, kind, id, body, by_user) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, (SELECT id FROM accounts WHERE username = ?9))",
    ];
    if kind == 2 {
        statements.push(
            "INSERT INTO members (channel, seq, user, epoch, since) VALUES (?1, ?2, ?3, ?4, ?5)",
        );
    }
    for sql in statements {
        sqlx::query(sql)
            .bind(&entry.channel.as_bytes()[..])
            .bind(i64::try_from(entry.seq).unwrap())
            .bind(record.user.as_ref().map(|user| &user.as_bytes()[..]))
            .bind(i64::try_from(entry.epoch).unwrap())
            .bind(entry.sent_at.as_ms())
            .bind(kind)
            .bind(id)
            .bind(body)
            .bind(by)
            .execute(pool)
            .await
            .unwrap();
    }
}
