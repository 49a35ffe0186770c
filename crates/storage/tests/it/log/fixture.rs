//! A log of its own for a test, with what it needs.

use std::time::Duration;

use banter_protocol::entry::Kind;
use banter_protocol::id::{ChannelId, MessageId, Position, Seq, UserId};
use banter_protocol::text::Body;
use banter_storage::bus::LocalBus;
use banter_storage::channels::{Channels, Creation};
use banter_storage::entries::{Anchor, Entries, Page, Record};
use banter_storage::log::drain::Drain;
use banter_storage::log::{Act, Answer, Append, Log, Receipt, RedisLog, Shard, SqliteLog};
use banter_storage::{Database, Durability, Postgres, Redis};

use crate::fixture::{Fixture, channel, new_channel};
use crate::servers::redis::Server;

/// Makes each function a test on every kind of log. One that is not listed is reported as unused.
macro_rules! on_every_log {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::log::fixture::Under::sqlite().await).await;
                }
            )+
        }
        mod redis {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::log::fixture::Under::redis().await).await;
                }
            )+
        }
        mod valkey {
            $(
                #[tokio::test]
                async fn $name() {
                    let Some(under) = crate::log::fixture::Under::valkey().await else {
                        eprintln!("not run: BANTER_TEST_VALKEY names no program");
                        return;
                    };
                    super::$name(under).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_log;

/// Settings of a server that does not wait for the disk.
pub(crate) const LAZY: [&str; 2] = ["--appendfsync", "everysec"];

/// A log under test.
pub(crate) struct Under {
    pub(crate) log: Log,
    pub(crate) entries: Entries,
    pub(crate) fixture: Fixture,
    pub(crate) cluster: Option<Cluster>,
}

/// What a cluster's log runs on.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    pub(crate) drain: Drain,
}

impl Under {
    pub(crate) async fn sqlite() -> Self {
        let fixture = Fixture::sqlite().await;
        let Database::Sqlite(database) = &fixture.database else {
            unreachable!()
        };
        let (bus, mut events) = LocalBus::new();
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Self {
            log: Log::Sqlite(SqliteLog::open(database.clone(), bus).await.unwrap()),
            entries: Entries::new(&fixture.database),
            fixture,
            cluster: None,
        }
    }

    /// On a server that does not wait for the disk, which other tests keep busy.
    pub(crate) async fn redis() -> Self {
        Self::on(Server::start_with(&LAZY)).await
    }

    /// On a server that does, and so may be killed.
    pub(crate) async fn durable() -> Self {
        Self::on(Server::start()).await
    }

    pub(crate) async fn valkey() -> Option<Self> {
        Some(Self::on(Server::start_valkey(&LAZY)?).await)
    }

    pub(crate) async fn on(server: Server) -> Self {
        Self::over(server, Fixture::postgres().await).await
    }

    /// On a database server of the test's own.
    pub(crate) async fn with(server: Server, database: &str) -> Self {
        Self::over(server, Fixture::at(database).await).await
    }

    async fn over(server: Server, fixture: Fixture) -> Self {
        let Database::Postgres(postgres) = fixture.database.clone() else {
            unreachable!()
        };
        let redis = Redis::open(&server.url(), None, Durability::Everysec)
            .await
            .unwrap()
            .patient(WITHIN);
        let log = RedisLog::new(redis.clone(), postgres.clone());
        Self {
            entries: Entries::queued(postgres.clone(), log.clone()),
            log: Log::Redis(log),
            fixture,
            cluster: Some(Cluster {
                drain: Drain::new(redis.clone(), postgres.clone(), "worker-1"),
                server,
                redis,
                postgres,
            }),
        }
    }

    /// Restarts Redis with nothing lost.
    pub(crate) async fn restart(&mut self) {
        let server = &mut self.cluster().server;
        server.kill();
        server.up();
        self.reconnect().await;
    }

    /// Waits until the log has found the server that was started again.
    pub(crate) async fn reconnect(&mut self) {
        let begun = std::time::Instant::now();
        while self.log.heads(&[channel(0)]).await.is_err() {
            assert!(begun.elapsed() < WITHIN);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The parts that only a cluster has.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().unwrap()
    }

    /// Makes a public channel whose creator has not joined yet.
    pub(crate) async fn channel(&self, n: u8, owner: UserId) -> ChannelId {
        let new = new_channel(n, &format!("channel {n}"), false, owner);
        let made = Channels::new(&self.fixture.database)
            .create(&new)
            .await
            .unwrap();
        assert_eq!(made, Creation::Created);
        channel(n)
    }

    /// A channel in which `ann`, the first account, has joined.
    pub(crate) async fn joined(&self) -> (ChannelId, UserId) {
        let ann = self.fixture.account(1, "ann").await;
        let channel = self.channel(9, ann).await;
        assert_eq!(
            self.one(self.join(channel, ann).await).await.unwrap().seq,
            1
        );
        (channel, ann)
    }

    pub(crate) async fn join(&self, channel: ChannelId, user: UserId) -> Append {
        self.act(channel, user, Act::Join).await
    }

    pub(crate) async fn leave(&self, channel: ChannelId, user: UserId) -> Append {
        self.act(channel, user, Act::Leave { by: None }).await
    }

    /// A message under an id of its own.
    pub(crate) async fn say(&self, channel: ChannelId, user: UserId, body: &str) -> Append {
        let id = uuid::Uuid::now_v7().to_string();
        self.say_as(&id, channel, user, body).await
    }

    pub(crate) async fn say_as(
        &self,
        id: &str,
        channel: ChannelId,
        user: UserId,
        body: &str,
    ) -> Append {
        let id: MessageId = id.parse().unwrap();
        let body = Body::parse(body).unwrap();
        self.act(channel, user, Act::Message { id, body }).await
    }

    async fn act(&self, channel: ChannelId, user: UserId, act: Act) -> Append {
        Append {
            channel,
            user,
            username: self.fixture.name(user).await,
            act,
        }
    }

    /// Appends one entry.
    pub(crate) async fn one(&self, append: Append) -> Answer {
        self.all(vec![append]).await.remove(0)
    }

    pub(crate) async fn all(&self, batch: Vec<Append>) -> Vec<Answer> {
        self.log.append(batch).await.unwrap()
    }

    /// Appends `count` messages, one batch each, and gives their numbers.
    pub(crate) async fn chat(&self, channel: ChannelId, user: UserId, count: usize) -> Vec<Seq> {
        let mut numbers = Vec::new();
        for n in 0..count {
            let message = self.say(channel, user, &format!("body {n}")).await;
            numbers.push(self.one(message).await.unwrap().seq);
        }
        numbers
    }

    /// Stores everything that waits, where that is not done at once. Gives what it came to.
    pub(crate) async fn drain(&self) -> usize {
        let Some(cluster) = &self.cluster else {
            return 0;
        };
        let shards: Vec<_> = Shard::all().collect();
        let mut rows = 0;
        loop {
            let progress = cluster.drain.step(&shards, |_| {}).await.unwrap();
            if progress.rows == 0 {
                return rows;
            }
            rows += progress.rows;
        }
    }

    /// The newest page of a channel.
    pub(crate) async fn newest(&self, channel: ChannelId) -> Page {
        self.entries
            .page(channel, Anchor::Newest, 200)
            .await
            .unwrap()
    }

    /// What a channel has come to, shortly; numbers are checked to be dense from 1.
    pub(crate) async fn history(&self, channel: ChannelId) -> Vec<String> {
        let page = self.newest(channel).await;
        assert!(page.complete && !page.has_older && !page.has_newer);
        for (n, record) in (1..).zip(&page.records) {
            assert_eq!(record.entry.seq, n, "{:?}", page.records);
        }
        page.records.iter().map(short).collect()
    }
}

/// An entry without its number and time.
pub(crate) fn short(record: &Record) -> String {
    match &record.entry.kind {
        Kind::Message { author, body, .. } => format!("{author}: {body}"),
        Kind::Joined { user } => format!("{user} joined"),
        Kind::Left { user, by: None } => format!("{user} left"),
        Kind::Left { user, by: Some(by) } => format!("{user} left by {by}"),
        Kind::Tombstone => "tombstone".into(),
    }
}

/// Where an entry stands.
pub(crate) fn position(receipt: &Receipt) -> Position {
    Position {
        seq: receipt.seq,
        epoch: receipt.epoch,
    }
}

/// More than anything takes, on a machine that has other things to do.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// A key of the channel's shard, or the channel's list.
pub(crate) fn key(channel: ChannelId, name: &str) -> String {
    let shard = Shard::of(channel).number();
    let hex: String = channel
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match name {
        "l" => format!("{{b{shard}}}:l:{hex}"),
        name => format!("{{b{shard}}}:{name}"),
    }
}
