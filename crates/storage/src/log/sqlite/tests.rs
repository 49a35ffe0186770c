//! Batches whose outcome was not what it looked like.

use std::collections::HashSet;

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::id::UserId;
use banter_protocol::text::{Body, ChannelName, Topic, Username};
use banter_protocol::time::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::bus::Event;
use crate::channels::{Channels, NewChannel};
use crate::log::{Act, Receipt};

const CHANNEL: ChannelId = ChannelId::from_bytes([9; 16]);

struct Bench {
    _directory: TempDir,
    database: Sqlite,
    log: SqliteLog,
    announced: mpsc::Receiver<Event>,
    ann: UserId,
}

impl Bench {
    /// A channel with its creator's join.
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("banter.db");
        let database = Sqlite::open(&path);
        let database = database.await.unwrap();
        let ann = UserId::from_bytes([1; 16]);
        sqlx::query(
            "INSERT INTO accounts (id, username, password, created_at) VALUES (?, ?, '', 0)",
        )
        .bind(&ann.as_bytes()[..])
        .bind("ann")
        .execute(&mut *database.writer().await)
        .await
        .unwrap();
        let new = NewChannel {
            id: CHANNEL,
            name: ChannelName::parse("one").unwrap(),
            topic: Topic::parse("").unwrap(),
            private: false,
            owner: ann,
            created_at: Timestamp::from_ms(0),
        };
        let _ = Channels::new(&database.clone().into())
            .create(&new)
            .await
            .unwrap();
        let (bus, announced) = LocalBus::new();
        let log = SqliteLog::open(database.clone(), bus).await.unwrap();
        let mut bench = Self {
            _directory: directory,
            database,
            log,
            announced,
            ann,
        };
        bench.append(Act::Join).await.unwrap();
        assert_eq!(bench.heard().await, [1]);
        bench
    }

    async fn append(&self, act: Act) -> Result<Receipt> {
        let append = Append {
            channel: CHANNEL,
            user: self.ann,
            username: Username::parse("ann").unwrap(),
            act,
        };
        let answers = self.log.append(vec![append]).await?;
        Ok(answers[0].clone().unwrap())
    }

    async fn say(&self, id: &str) -> Result<Receipt> {
        self.append(Act::Message {
            id: id.parse().unwrap(),
            body: Body::parse("hello").unwrap(),
        })
        .await
    }

    /// A commit that the log was told nothing of: to it, one whose outcome it does not know.
    async fn unheard_of(&self) {
        let kind = Kind::Message {
            id: "id-2".parse().unwrap(),
            author: Username::parse("ann").unwrap(),
            body: Body::parse("hello").unwrap(),
        };
        let now = Timestamp::from_ms(1_000);
        let entry = Entry {
            channel: CHANNEL,
            seq: 2,
            epoch: 1,
            sent_at: now,
            kind,
        };
        let record = Record {
            entry,
            user: Some(self.ann),
        };
        let mut writer = self.database.writer().await;
        statements::insert(&mut writer, &[record], 1, now)
            .await
            .unwrap();
    }

    /// The numbers of the next announcement.
    async fn heard(&mut self) -> Vec<Seq> {
        match self.announced.recv().await.unwrap() {
            Event::Entries(records) => records.iter().map(|record| record.entry.seq).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_entry_committed_without_word_is_announced_and_numbered_past() {
    let mut bench = Bench::new().await;
    bench.unheard_of().await;
    // Its number is taken. The batch fails, and what was in the way is found and told.
    assert!(bench.say("next").await.is_err());
    assert_eq!(bench.heard().await, [2]);
    let receipt = bench.say("next").await.unwrap();
    assert_eq!((receipt.seq, receipt.fresh), (3, true));
    assert_eq!(bench.heard().await, [3]);
}

#[tokio::test]
async fn the_retry_of_a_message_committed_without_word_gets_the_first_answer() {
    let mut bench = Bench::new().await;
    bench.unheard_of().await;
    let receipt = bench.say("id-2").await.unwrap();
    assert_eq!((receipt.seq, receipt.fresh), (2, false));
    assert!(bench.say("next").await.is_err());
    assert_eq!(bench.heard().await, [2]);
    assert_eq!(bench.say("next").await.unwrap().seq, 3);
    assert_eq!(bench.heard().await, [3]);
}

#[tokio::test]
async fn a_doubtful_channel_is_looked_into_before_the_next_batch() {
    let mut bench = Bench::new().await;
    bench.unheard_of().await;
    // The file could not be looked into when the commit failed.
    bench.log.shared.state.lock().await.doubtful = HashSet::from([CHANNEL]);
    let receipt = bench.say("next").await.unwrap();
    assert_eq!((receipt.seq, receipt.fresh), (3, true));
    assert_eq!(bench.heard().await, [2]);
    assert_eq!(bench.heard().await, [3]);
}

#[tokio::test]
async fn every_epoch_is_new() {
    let bench = Bench::new().await;
    let begin = async |ms| {
        let now = Timestamp::from_ms(ms);
        SqliteLog::begin_epoch(&bench.database, now).await.unwrap()
    };
    assert_eq!(bench.log.epoch(), 1);
    assert_eq!(begin(1_000).await, 1_000);
    // The clock was set back.
    assert_eq!(begin(10).await, 1_001);
    let (bus, _announced) = LocalBus::new();
    let log = SqliteLog::open(bench.database.clone(), bus).await.unwrap();
    assert_eq!(log.epoch(), 1_001);
}
