//! How entries that the log has taken come into PostgreSQL.

use std::time::Instant;

use banter_protocol::entry::Kind;
use banter_protocol::id::{ChannelId, Position, Seq, UserId};
use banter_protocol::text::{Body, Username};
use banter_storage::channels::{Channels, Creation, Filter, Member};
use banter_storage::entries::{Conflict, Entries, Record, Standing, import};
use banter_storage::postgres::Role;
use banter_storage::{Database, Error, Postgres};
use sqlx::{Executor as _, Row as _};
use uuid::Uuid;

use crate::fixture::{Fixture, channel, new_channel, record};
use crate::seed::Seed;
use crate::servers::postgres::shared;

fn postgres(fixture: &Fixture) -> &Postgres {
    match &fixture.database {
        Database::Postgres(postgres) => postgres,
        Database::Sqlite(_) => unreachable!("these tests are PostgreSQL's"),
    }
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn said(seq: Seq, user: UserId, id: &str, body: &str) -> Record {
    let kind = Kind::Message {
        id: id.parse().unwrap(),
        author: name("ann"),
        body: Body::from_stored(body),
    };
    record(channel(9), seq, 5, Some(user), kind)
}

fn conflict(seq: Seq, standing: Standing) -> Conflict {
    let channel = channel(9);
    Conflict {
        channel,
        seq,
        standing,
    }
}

#[tokio::test]
async fn a_batch_that_comes_again_changes_nothing() {
    let fixture = Fixture::postgres().await;
    let (ann, bob) = (
        fixture.account(1, "ann").await,
        fixture.account(2, "bob").await,
    );
    fixture.make(9, "one", false, ann).await;
    let joined = |seq| {
        record(
            channel(9),
            seq,
            7,
            Some(bob),
            Kind::Joined { user: name("bob") },
        )
    };
    let by = Some(name("ann"));
    let left = Kind::Left {
        user: name("bob"),
        by,
    };
    let batch = [
        joined(2),
        said(3, ann, "a", "first"),
        record(channel(9), 4, 7, Some(bob), left),
        joined(5),
        record(channel(9), 6, 7, None, Kind::Tombstone),
    ];
    let written = import(postgres(&fixture), &batch[..3]).await.unwrap();
    assert_eq!(written, []);
    // The rest is written although what comes before it was.
    let again = import(postgres(&fixture), &batch).await.unwrap();
    assert_eq!(again, [2, 3, 4].map(|seq| conflict(seq, Standing::Same)));
    let channels = Channels::new(&fixture.database);
    let membership = channels.membership(channel(9), bob).await.unwrap();
    assert_eq!(membership.unwrap().seq, 5);
    // Nor does an older part of it, which says that he left.
    for part in [&batch[..], &batch[..3]] {
        let again = import(postgres(&fixture), part).await.unwrap();
        assert_eq!(again.len(), part.len());
    }
    let membership = channels.membership(channel(9), bob).await.unwrap();
    assert_eq!(membership.unwrap().seq, 5);
    let stored = Entries::new(&fixture.database)
        .range(channel(9), 1, None, 50)
        .await;
    assert_eq!(stored.unwrap(), batch);
}

#[tokio::test]
async fn what_stands_in_the_way_is_told() {
    let fixture = Fixture::postgres().await;
    let ann = fixture.account(1, "ann").await;
    fixture.make(9, "one", false, ann).await;
    let first = said(2, ann, "a", "first");
    assert_eq!(
        import(postgres(&fixture), std::slice::from_ref(&first))
            .await
            .unwrap(),
        []
    );
    let batch = [
        said(2, ann, "b", "another"),
        said(3, ann, "a", "first"),
        said(4, ann, "c", "new"),
        said(5, ann, "c", "new"),
    ];
    let conflicts = import(postgres(&fixture), &batch).await.unwrap();
    let sent = |seq| Standing::Sent(Position { seq, epoch: 1 });
    assert_eq!(
        conflicts,
        [
            conflict(2, Standing::Other(first)),
            conflict(3, sent(2)),
            conflict(5, sent(4))
        ]
    );
    let entries = Entries::new(&fixture.database);
    assert_eq!(entries.head(channel(9)).await.unwrap().seq, 4);
}

#[tokio::test]
async fn an_entry_that_can_never_be_stored_is_told_from_a_database_that_is_away() {
    let fixture = Fixture::postgres().await;
    let ann = fixture.account(1, "ann").await;
    fixture.make(9, "one", false, ann).await;
    let batch = [said(2, ann, "a", "good"), said(3, ann, "b", "b\0d")];
    let refused = import(postgres(&fixture), &batch).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt(_)), "{refused:?}");
    let entries = Entries::new(&fixture.database);
    assert_eq!(entries.head(channel(9)).await.unwrap().seq, 1);
}

#[tokio::test]
async fn the_first_entry_of_an_abandoned_channel_makes_no_member() {
    let fixture = Fixture::postgres().await;
    let ann = fixture.account(1, "ann").await;
    let channels = Channels::new(&fixture.database);
    let new = new_channel(9, "one", false, ann);
    assert_eq!(channels.create(&new).await.unwrap(), Creation::Created);
    assert!(channels.abandon(channel(9)).await.unwrap());
    let joined = record(
        channel(9),
        1,
        7,
        Some(ann),
        Kind::Joined { user: name("ann") },
    );
    assert_eq!(import(postgres(&fixture), &[joined]).await.unwrap(), []);
    assert_eq!(channels.count_joined(ann).await.unwrap(), 0);
    let all = channels.list(ann, &Filter::default(), None, 10).await;
    assert_eq!(all.unwrap(), []);
}

/// What is known of the memberships of a channel when entries are taken one by one.
#[derive(Default)]
struct Room {
    owner: Option<u8>,
    /// Members with the number of the entry that made them one, by that number.
    members: Vec<(u8, Seq)>,
    top: Seq,
}

impl Room {
    fn toggle(&mut self, user: u8) -> Kind {
        self.top += 1;
        let user_name = name(&format!("user-{user}"));
        if let Some(at) = self.members.iter().position(|(member, _)| *member == user) {
            self.members.remove(at);
            if self.owner == Some(user) {
                self.owner = self.members.first().map(|(member, _)| *member);
            }
            let by = None;
            return Kind::Left {
                user: user_name,
                by,
            };
        }
        self.members.push((user, self.top));
        self.owner = self.owner.or(Some(user));
        Kind::Joined { user: user_name }
    }
}

#[tokio::test]
async fn a_batch_comes_to_what_its_entries_come_to_one_by_one() {
    let mut seed = Seed::of_run();
    let fixture = Fixture::postgres().await;
    let mut users = Vec::new();
    for n in 0..4 {
        users.push(fixture.account(n + 1, &format!("user-{n}")).await);
    }
    let channels = Channels::new(&fixture.database);
    for room in [8, 9] {
        let new = new_channel(room, &format!("room {room}"), false, users[0]);
        assert_eq!(channels.create(&new).await.unwrap(), Creation::Created);
    }
    let owned = || Room {
        owner: Some(0),
        ..Room::default()
    };
    let mut rooms = [owned(), owned()];
    for _ in 0..60 {
        let mut batch = Vec::new();
        for _ in 0..=seed.below(9) {
            let at = usize::from(seed.below(2) == 1);
            let user = u8::try_from(seed.below(4)).unwrap();
            let kind = rooms[at].toggle(user);
            let id = channel([8, 9][at]);
            let who = Some(users[usize::from(user)]);
            batch.push(record(id, rooms[at].top, 7, who, kind));
        }
        assert_eq!(import(postgres(&fixture), &batch).await.unwrap(), []);
        for (room, id) in rooms.iter().zip([8, 9]) {
            compare(&channels, channel(id), room).await;
        }
    }
}

async fn compare(channels: &Channels, id: ChannelId, room: &Room) {
    let stored = channels.members(id, None, 10).await.unwrap();
    let digit = |member: &Member| member.id.as_bytes()[0] - 1;
    let found: Vec<(u8, bool)> = stored.iter().map(|m| (digit(m), m.owner)).collect();
    let mut expected: Vec<(u8, bool)> = room
        .members
        .iter()
        .map(|(member, _)| (*member, room.owner == Some(*member)))
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for (member, seq) in &room.members {
        let user = UserId::from_bytes([member + 1; 16]);
        let membership = channels.membership(id, user).await.unwrap();
        assert_eq!(membership.unwrap().seq, *seq);
    }
}

/// Batches of 2,000 messages of 150 bytes in 50 channels.
fn batches(count: u64, author: UserId, first: Seq) -> Vec<Vec<Record>> {
    let ids = (0..50_u8).map(|n| {
        let mut bytes = *Uuid::now_v7().as_bytes();
        bytes[15] = n;
        ChannelId::from_bytes(bytes)
    });
    let channels: Vec<ChannelId> = ids.collect();
    let message = |seq, channel| {
        let kind = Kind::Message {
            id: Uuid::now_v7().to_string().parse().unwrap(),
            author: name("ann"),
            body: Body::from_stored("x".repeat(150)),
        };
        record(channel, seq, 5, Some(author), kind)
    };
    let batch = |n| {
        let seqs = first + 40 * n..first + 40 * (n + 1);
        seqs.flat_map(|seq| channels.iter().map(move |channel| (seq, *channel)))
            .map(|(seq, channel)| message(seq, channel))
            .collect()
    };
    (0..count).map(batch).collect()
}

/// What a worker's batches cost, beside the barest insert into the same table. Printed: the machine
/// decides too much for a limit here.
#[tokio::test]
async fn the_cost_of_a_batch_is_printed() {
    const COUNT: u64 = 5;
    let url = shared().database(false).await;
    let database = Postgres::open(&url, Role::Worker).await.unwrap();
    let fixture_author = UserId::from_bytes([1; 16]);
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        let ours = batches(COUNT, fixture_author, 1);
        let bare = batches(COUNT, fixture_author, 1);
        let rows = f64::from(u32::try_from(COUNT * 2_000).unwrap());
        let began = Instant::now();
        for batch in &ours {
            assert_eq!(import(&database, batch).await.unwrap(), []);
        }
        rates[0].push(rows / began.elapsed().as_secs_f64());
        let began = Instant::now();
        for batch in &bare {
            insert_barely(&pool, batch).await;
        }
        rates[1].push(rows / began.elapsed().as_secs_f64());
    }
    let counted = pool
        .fetch_one("SELECT count(*) FROM entries")
        .await
        .unwrap();
    assert_eq!(
        counted.get::<i64, _>(0),
        2 * 3 * i64::try_from(COUNT).unwrap() * 2_000
    );
    let [ours, bare] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[1]
    });
    eprintln!(
        "2,000 rows a batch: {ours:.0} rows/s, bare {bare:.0}, ratio {:.2}",
        ours / bare
    );
}

async fn insert_barely(pool: &sqlx::PgPool, batch: &[Record]) {
    let number = |of: fn(&Record) -> u64| -> Vec<i64> {
        batch.iter().map(|r| of(r).cast_signed()).collect()
    };
    let uuid = |bytes: &[u8; 16]| Uuid::from_bytes(*bytes);
    let text = |of: fn(&Kind) -> Option<&str>| -> Vec<Option<&str>> {
        batch.iter().map(|r| of(&r.entry.kind)).collect()
    };
    let account = |r: &Record| r.user.map(|user| uuid(user.as_bytes()));
    sqlx::query(
        "INSERT INTO entries (channel, seq, epoch, sent_at, kind, account, id, body) \
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], \
           $5::smallint[], $6::uuid[], $7::text[], $8::text[])",
    )
    .bind(
        batch
            .iter()
            .map(|r| uuid(r.entry.channel.as_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(number(|r| r.entry.seq))
    .bind(number(|r| r.entry.epoch))
    .bind(
        batch
            .iter()
            .map(|r| r.entry.sent_at.as_ms())
            .collect::<Vec<_>>(),
    )
    .bind(vec![1_i16; batch.len()])
    .bind(batch.iter().map(account).collect::<Vec<_>>())
    .bind(text(|kind| match kind {
        Kind::Message { id, .. } => Some(id.as_str()),
        _ => None,
    }))
    .bind(text(|kind| match kind {
        Kind::Message { body, .. } => Some(body.as_str()),
        _ => None,
    }))
    .execute(pool)
    .await
    .unwrap();
}
