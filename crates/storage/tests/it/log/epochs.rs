//! Epochs on real servers: what a Redis that comes back with too little must not break.

use banter_protocol::entry::Level;
use banter_protocol::id::{ChannelId, Position};
use banter_storage::log::{Change, Log, RedisLog, Refused};
use banter_storage::{Durability, Redis};

use super::fixture::{Under, WITHIN, key, position};

#[tokio::test]
async fn a_restart_that_loses_nothing_changes_no_number() {
    let mut under = Under::durable().await;
    let (channel, ann) = under.joined().await;
    under.chat(channel, ann, 2).await;
    under.drain().await;
    let message = under.say(channel, ann, "waiting").await;
    let first = under.one(message.clone()).await.unwrap();
    assert_eq!(changes(&under), [0, 0, 0], "the first epoch is no change");
    under.restart().await;
    let again = under.one(message).await.unwrap();
    assert_eq!(position(&again), position(&first));
    assert_eq!(changes(&under), [16, 0, 0]);
    let next = under
        .one(under.say(channel, ann, "after").await)
        .await
        .unwrap();
    assert_eq!((next.seq, next.epoch), (first.seq + 1, 2));
    assert_eq!(
        under.entries.epoch_of(channel, first.seq).await.unwrap(),
        Some(1)
    );
    assert_eq!(under.drain().await, 2);
    under
        .log
        .stored(channel, position(&first), WITHIN)
        .await
        .unwrap();
    assert_eq!(
        under.entries.epoch_of(channel, first.seq).await.unwrap(),
        Some(1)
    );
    assert_eq!(under.history(channel).await.len(), 5);
}

#[tokio::test]
async fn what_a_torn_file_loses_gets_new_numbers_in_a_new_epoch() {
    let mut under = Under::durable().await;
    let (channel, ann) = under.joined().await;
    under.drain().await;
    let kept = under
        .one(under.say(channel, ann, "kept").await)
        .await
        .unwrap();
    let message = under.say(channel, ann, "sent again").await;
    let lost = under.one(message.clone()).await.unwrap();
    under.cluster().server.kill();
    under.cluster().server.tear(1);
    under.cluster().server.up();
    under.reconnect().await;
    assert_eq!(
        under.log.heads(&[channel]).await.unwrap()[&channel],
        at(2, 2)
    );
    let refused = under.log.stored(channel, position(&lost), WITHIN).await;
    assert!(refused.is_err(), "{refused:?}");
    let other = under
        .one(under.say(channel, ann, "other").await)
        .await
        .unwrap();
    let again = under.one(message).await.unwrap();
    assert_eq!((position(&other), position(&again)), (at(3, 2), at(4, 2)));
    under.drain().await;
    let refused = under.log.stored(channel, position(&lost), WITHIN).await;
    assert!(refused.is_err(), "{refused:?}");
    under
        .log
        .stored(channel, position(&kept), WITHIN)
        .await
        .unwrap();
    let said = ["ann joined", "ann: kept", "ann: other", "ann: sent again"];
    assert_eq!(under.history(channel).await, said);
}

#[tokio::test]
async fn a_join_that_waits_through_a_restart_is_told() {
    let mut under = Under::durable().await;
    let (channel, ann) = under.joined().await;
    under.restart().await;
    let recent = under.log.recent(ann, &[], &[channel]).await.unwrap();
    let change = Change {
        seq: 1,
        joined: true,
    };
    assert_eq!(
        recent.get(&channel).map(|it| (it.head, it.change)),
        Some((at(1, 2), Some(change)))
    );
    under.drain().await;
    under.restart().await;
    let recent = under.log.recent(ann, &[], &[channel]).await.unwrap();
    assert!(recent.is_empty(), "the database has it: {recent:?}");
}

#[tokio::test]
async fn an_emptied_redis_goes_on_after_the_database() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let stored = under.say(channel, ann, "stored").await;
    let first = under.one(stored.clone()).await.unwrap();
    under.drain().await;
    let lost = under.say(channel, ann, "lost").await;
    under.one(lost.clone()).await.unwrap();
    under
        .cluster
        .as_ref()
        .unwrap()
        .server
        .command::<()>(&["FLUSHALL"]);
    let batch = vec![under.join(channel, ann).await, stored, lost];
    let answers = under.all(batch).await;
    assert_eq!(changes(&under), [0, 16, 0]);
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!((answers[0].seq, answers[0].level), (1, Level::Stored));
    assert_eq!(position(&answers[1]), position(&first));
    assert_eq!((position(&answers[2]), answers[2].fresh), (at(3, 2), true));
    under.drain().await;
    assert_eq!(under.history(channel).await.len(), 3);
}

#[tokio::test]
async fn data_of_an_older_history_are_thrown_away() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    under.drain().await;
    let server = &under.cluster.as_ref().unwrap().server;
    server.command::<()>(&["FLUSHALL"]);
    under
        .one(under.say(channel, ann, "old").await)
        .await
        .unwrap();
    assert_eq!(
        under.log.heads(&[channel]).await.unwrap()[&channel],
        at(2, 2)
    );
    // As if this copy were from before the epoch that was open last.
    server.command::<()>(&["SET", &key(channel, "epoch"), "1 another 0"]);
    let new = under
        .one(under.say(channel, ann, "new").await)
        .await
        .unwrap();
    assert_eq!(position(&new), at(2, 3));
    under.drain().await;
    assert_eq!(under.history(channel).await, ["ann joined", "ann: new"]);
}

#[tokio::test]
async fn an_epoch_that_somebody_began_and_left_is_repaired() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let server = &under.cluster.as_ref().unwrap().server;
    // He died when only the database had it: gateways do not notice, workers do.
    under
        .fixture
        .execute("UPDATE shards SET epoch = epoch + 1")
        .await;
    under.chat(channel, ann, 1).await;
    assert_eq!(under.drain().await, 0);
    assert_eq!(under.drain().await, 2);
    assert_eq!(
        under.log.heads(&[channel]).await.unwrap()[&channel],
        at(2, 3)
    );
    // When Redis had it too, but it was not open; and when the database knew even that.
    for (sql, epoch, opened) in [
        ("UPDATE shards SET epoch = 4", "4 -", 5),
        ("UPDATE shards SET epoch = 6, installed = 6", "6 -", 7),
    ] {
        under.fixture.execute(sql).await;
        server.command::<()>(&["SET", &key(channel, "epoch"), epoch]);
        server.command::<()>(&["DEL", &key(channel, "top")]);
        under.chat(channel, ann, 1).await;
        let heads = under.log.heads(&[channel]).await.unwrap();
        assert_eq!(heads[&channel].epoch, opened);
        under.drain().await;
    }
    assert!(changes(&under)[2] >= 2, "{:?}", changes(&under));
    assert_eq!(under.history(channel).await.len(), 4);
}

#[tokio::test]
async fn gateways_that_come_at_once_begin_one_epoch() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    under.drain().await;
    let cluster = under.cluster.as_ref().unwrap();
    let mut gateways = Vec::new();
    for _ in 0..6 {
        let redis = Redis::open(&cluster.server.url(), None, Durability::Everysec)
            .await
            .unwrap()
            .patient(WITHIN);
        gateways.push(RedisLog::new(redis, cluster.postgres.clone()));
    }
    cluster.server.command::<()>(&["FLUSHALL"]);
    let heads = gateways
        .into_iter()
        .map(|log| tokio::spawn(async move { log.heads(&[channel]).await.unwrap()[&channel] }));
    for head in heads.collect::<Vec<_>>() {
        assert_eq!(head.await.unwrap(), at(1, 2));
    }
    under.chat(channel, ann, 1).await;
}

#[tokio::test]
async fn a_membership_that_redis_remembers_wrongly_does_not_count() {
    let mut under = Under::durable().await;
    let (channel, _) = under.joined().await;
    let bob = under.fixture.account(2, "bob").await;
    let (join, leave) = (
        under.join(channel, bob).await,
        under.leave(channel, bob).await,
    );
    under.one(join.clone()).await.unwrap();
    under.drain().await;
    let changes = key(channel, "mem0");
    let server = &under.cluster.as_ref().unwrap().server;
    let before: Vec<String> = server.command(&["HGETALL", &changes]);
    under.one(leave.clone()).await.unwrap();
    under.drain().await;
    // As if this copy were from before the leave.
    for pair in before.chunks(2) {
        server.command::<()>(&["HSET", &changes, &pair[0], &pair[1]]);
    }
    under.restart().await;
    assert_eq!(under.one(leave).await, Err(Refused::NotAMember));
    let again = under.one(join).await.unwrap();
    assert_eq!((again.seq, again.fresh), (4, true));
}

#[tokio::test]
async fn whoever_waits_for_another_channel_is_not_disturbed() {
    let mut under = Under::durable().await;
    let (channel, ann) = under.joined().await;
    under.drain().await;
    under.restart().await;
    let other: ChannelId = under.channel(0x29, ann).await;
    under.one(under.join(other, ann).await).await.unwrap();
    under.drain().await;
    // Touched by nobody in this epoch, it is as it was.
    let newest = under.newest(channel).await;
    assert_eq!((newest.records.len(), newest.complete), (1, true));
}

/// Shards for which another epoch began: restarted, emptied, unfinished.
fn changes(under: &Under) -> [u64; 3] {
    let Log::Redis(log) = &under.log else {
        unreachable!()
    };
    log.epoch_changes().map(|(_, shards)| shards)
}

const fn at(seq: u64, epoch: u64) -> Position {
    Position { seq, epoch }
}
