//! The way from Redis into the database, and what goes wrong on it.

use std::collections::BTreeSet;

use banter_protocol::entry::Level;
use banter_storage::channels::Channels;
use banter_storage::heartbeat;
use banter_storage::log::Shard;
use banter_storage::log::drain::Drain;
use banter_storage::log::queue;

use super::fixture::{Cluster, Under, WITHIN, key, position};

fn all() -> Vec<Shard> {
    Shard::all().collect()
}

fn drain(cluster: &Cluster, name: &str) -> Drain {
    Drain::new(cluster.redis.clone(), cluster.postgres.clone(), name)
}

#[tokio::test]
async fn a_crash_between_the_database_and_redis_is_a_replay() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let bob = under.fixture.account(2, "bob").await;
    under.one(under.join(channel, bob).await).await.unwrap();
    under.one(under.leave(channel, ann).await).await.unwrap();
    under.chat(channel, bob, 4).await;
    let cluster = under.cluster.as_ref().unwrap();
    let prepared = cluster.drain.prepare(&all()).await.unwrap().unwrap();
    drop(prepared.store().await.unwrap());
    under.chat(channel, bob, 2).await;
    let again = drain(cluster, "worker-2")
        .step(&all(), |_| {})
        .await
        .unwrap();
    assert_eq!(
        (again.rows, again.replayed, again.rejected.all()),
        (9, 7, 0)
    );
    assert_eq!(under.history(channel).await.len(), 9);
    let channels = Channels::new(&under.fixture.database);
    assert_eq!(channels.membership(channel, ann).await.unwrap(), None);
    let seen = channels.seen_by(bob, channel).await.unwrap().unwrap();
    assert_eq!(seen.owner.unwrap().username.as_str(), "bob");
    assert_eq!(under.drain().await, 0);
}

#[tokio::test]
async fn two_workers_on_the_same_shards_repeat_nothing() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let cluster = under.cluster.as_ref().unwrap();
    let other = drain(cluster, "worker-2");
    for _ in 0..10 {
        under.chat(channel, ann, 5).await;
        let first = cluster.drain.prepare(&all()).await.unwrap().unwrap();
        under.chat(channel, ann, 1).await;
        let second = other.prepare(&all()).await.unwrap().unwrap();
        let (second, first) = tokio::join!(second.store(), first.store());
        // The slower one comes last, and must not take anything back.
        second.unwrap().commit().await.unwrap();
        first.unwrap().commit().await.unwrap();
    }
    assert_eq!(under.drain().await, 0);
    assert_eq!(under.history(channel).await.len(), 61);
    assert_eq!(queue::rejected(&cluster.postgres, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_worker_of_an_older_epoch_writes_nothing() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    under.drain().await;
    under
        .one(under.say(channel, ann, "lost").await)
        .await
        .unwrap();
    let cluster = under.cluster.as_ref().unwrap();
    let late = cluster.drain.prepare(&all()).await.unwrap().unwrap();
    cluster.server.command::<()>(&["FLUSHALL"]);
    let kept = under
        .one(under.say(channel, ann, "kept").await)
        .await
        .unwrap();
    assert_eq!((kept.seq, kept.epoch), (2, 2));
    let late = late.store().await.unwrap().commit().await.unwrap();
    assert_eq!(late.rows, 0);
    assert_eq!(under.drain().await, 1);
    assert_eq!(under.history(channel).await, ["ann joined", "ann: kept"]);
}

#[tokio::test]
async fn a_heartbeat_is_stored_and_leaves_nothing() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let beats: Vec<_> = (0..20).map(|n| heartbeat::beat(n).1).collect();
    let answers = under.all(beats).await;
    under.chat(channel, ann, 2).await;
    let cluster = under.cluster.as_ref().unwrap();
    let depth = queue::depth(&cluster.redis).await.unwrap();
    assert_eq!((depth.entries, depth.channels), (3, 1), "they are nobody's");
    let prepared = cluster.drain.prepare(&all()).await.unwrap().unwrap();
    drop(prepared.store().await.unwrap());
    // A worker that died in between has left nothing that the next one could meet.
    let progress = cluster.drain.step(&all(), |_| {}).await.unwrap();
    assert_eq!((progress.rows, progress.replayed), (23, 3));
    assert_eq!(progress.rejected.all(), 0);
    for (number, answer) in (0..20).zip(answers) {
        let (beat, at) = (heartbeat::channel(number), position(&answer.unwrap()));
        under.log.stored(beat, at, WITHIN).await.unwrap();
        let stored = under.entries.epoch_of(beat, at.seq).await.unwrap();
        assert_eq!(stored, None, "{number}");
    }
    assert_eq!(under.history(channel).await.len(), 3);
    assert_eq!(queue::depth(&cluster.redis).await.unwrap().entries, 0);
}

#[tokio::test]
async fn so_many_heartbeats_wait_for_a_worker_and_no_more() {
    let mut under = Under::redis().await;
    let mut sent = 0;
    while heartbeat::has_room(&under.log, 3).await {
        under.one(heartbeat::beat(3).1).await.unwrap();
        sent += 1;
        assert!(sent <= heartbeat::WAITING_MAX, "without end");
    }
    assert_eq!(sent, heartbeat::WAITING_MAX);
    assert!(heartbeat::has_room(&under.log, 4).await);
    under.drain().await;
    assert!(heartbeat::has_room(&under.log, 3).await);
    // What cannot be told keeps no heartbeat back: it is to fail, and to be counted.
    under.cluster.as_mut().unwrap().server.kill();
    assert!(heartbeat::has_room(&under.log, 3).await);
}

#[tokio::test]
async fn what_cannot_be_read_becomes_a_tombstone_and_its_neighbours_are_stored() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    under.chat(channel, ann, 3).await;
    let cluster = under.cluster.as_ref().unwrap();
    let list = key(channel, "l");
    let entry: String = cluster.server.command(&["LINDEX", &list, "2"]);
    // A body that cannot be stored, and then nothing of ours at all.
    let broken = entry.replace("body", "bo\0dy");
    cluster
        .server
        .command::<()>(&["LSET", &list, "3", "something else"]);
    cluster.server.command::<()>(&["LSET", &list, "2", &broken]);
    under.chat(channel, ann, 1).await;
    let said = [
        "ann joined",
        "ann: body 0",
        "tombstone",
        "tombstone",
        "ann: body 0",
    ];
    assert_eq!(under.history(channel).await, said);
    let progress = cluster.drain.step(&all(), |_| {}).await.unwrap();
    assert_eq!((progress.rows, progress.rejected.unreadable), (5, 2));
    assert_eq!(under.history(channel).await, said);
    let rejected = queue::rejected(&cluster.postgres, 10).await.unwrap();
    let mut raw: Vec<_> = rejected
        .iter()
        .map(|it| (it.seq, it.raw.as_slice()))
        .collect();
    raw.sort_unstable();
    let other = b"something else".as_slice();
    assert_eq!(raw, [(3, broken.as_bytes()), (4, other)]);
}

#[tokio::test]
async fn what_the_database_refuses_is_found_among_its_neighbours() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let sql = "ALTER TABLE entries ADD CHECK (body <> 'body 3')";
    under.fixture.execute(sql).await;
    under.chat(channel, ann, 7).await;
    let cluster = under.cluster.as_ref().unwrap();
    let progress = cluster.drain.step(&all(), |_| {}).await.unwrap();
    assert_eq!((progress.rows, progress.rejected.unreadable), (8, 1));
    let history = under.history(channel).await;
    let tombstones = history.iter().filter(|it| *it == "tombstone").count();
    assert_eq!(
        (history[4].as_str(), tombstones, history.len()),
        ("tombstone", 1, 8)
    );
    let rejected = queue::rejected(&cluster.postgres, 10).await.unwrap();
    assert_eq!((rejected.len(), rejected[0].seq), (1, 5));
}

#[tokio::test]
async fn a_message_that_was_accepted_twice_stays_one_message() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let message = under.say(channel, ann, "once").await;
    under.one(message.clone()).await.unwrap();
    under.drain().await;
    let cluster = under.cluster.as_ref().unwrap();
    // What no rule allows: an id is forgotten while it is fresh.
    cluster
        .server
        .command::<()>(&["DEL", &key(channel, "ids0")]);
    assert_eq!(under.one(message).await.unwrap().seq, 3);
    under.chat(channel, ann, 1).await;
    let prepared = cluster.drain.prepare(&all()).await.unwrap().unwrap();
    drop(prepared.store().await.unwrap());
    let replayed = cluster.drain.step(&all(), |_| {}).await.unwrap();
    assert_eq!((replayed.rows, replayed.replayed), (2, 2));
    let said = ["ann joined", "ann: once", "tombstone", "ann: body 0"];
    assert_eq!(under.history(channel).await, said);
    let rejected = queue::rejected(&cluster.postgres, 10).await.unwrap();
    assert_eq!(rejected[0].reason, "it was sent before, as number 2");
}

#[tokio::test]
async fn ids_are_forgotten_when_they_are_old_and_stored() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    // In the same shard.
    let busy = under.channel(0x19, ann).await;
    under.one(under.join(busy, ann).await).await.unwrap();
    let first = under.say(busy, ann, "first").await;
    under.one(first.clone()).await.unwrap();
    under.drain().await;
    let cluster = under.cluster.as_ref().unwrap();
    let ids = [key(channel, "ids0"), key(channel, "ids1")];
    let count = |n: usize| cluster.server.command::<usize>(&["HLEN", &ids[n]]);
    let began: i64 = cluster.server.command(&["HGET", &ids[0], ""]);
    let age = |field: &str, n: usize, ms: i64| {
        let at = (began - ms).to_string();
        cluster.server.command::<()>(&["HSET", &ids[n], field, &at]);
    };
    under.chat(channel, ann, 2).await;
    under.drain().await;
    assert_eq!(count(1), 0, "nothing is old yet");
    age("", 0, 600_000);
    under.chat(busy, ann, 1).await;
    under.drain().await;
    assert_eq!(count(1), 1, "all are stored, and that is noted");
    under.chat(busy, ann, 1).await;
    under.drain().await;
    assert_eq!(count(1), 1, "but not for long enough");
    age("clean", 1, 20_000);
    under.chat(busy, ann, 1).await;
    under.drain().await;
    assert!(count(0) == 0 && count(1) > 5, "{} {}", count(0), count(1));
    let again = under.one(first).await.unwrap();
    assert_eq!(
        (again.seq, again.fresh, again.level),
        (2, false, Level::Stored)
    );
}

#[tokio::test]
async fn ids_are_kept_while_one_of_them_waits() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let cluster = under.cluster.as_ref().unwrap();
    // The next entries of this channel are not drained: they are from before the ids began, and
    // those are old.
    under.drain().await;
    under.chat(channel, ann, 1).await;
    let (dirty, ids) = (key(channel, "dirty"), key(channel, "ids0"));
    let waiting: Vec<(String, i64)> =
        cluster
            .server
            .command(&["ZRANGE", &dirty, "0", "-1", "WITHSCORES"]);
    let (member, at) = &waiting[0];
    cluster
        .server
        .command::<()>(&["HSET", &ids, "", &(at - 700_000).to_string()]);
    cluster
        .server
        .command::<()>(&["HSET", &key(channel, "ids1"), "clean", "0"]);
    cluster
        .server
        .command::<()>(&["ZADD", &dirty, &(at - 700_001).to_string(), member]);
    let count = || {
        cluster
            .server
            .command::<usize>(&["HLEN", &key(channel, "ids1")])
    };
    let busy = under.channel(0x19, ann).await;
    under.one(under.join(busy, ann).await).await.unwrap();
    // Both are taken, but of the older one nothing is said: it goes on waiting.
    cluster.server.command::<()>(&["ZREM", &dirty, member]);
    let taken = cluster.drain.prepare(&all()).await.unwrap().unwrap();
    cluster
        .server
        .command::<()>(&["ZADD", &dirty, &(at - 700_001).to_string(), member]);
    taken.store().await.unwrap().commit().await.unwrap();
    assert_eq!(count(), 1, "one waits");
    under.drain().await;
    under
        .one(under.say(busy, ann, "all is stored").await)
        .await
        .unwrap();
    under.drain().await;
    assert!(count() > 1, "none waits");
}

#[tokio::test]
async fn leases_are_spread_and_taken_over() {
    let under = Under::redis().await;
    let cluster = under.cluster.as_ref().unwrap();
    let workers: Vec<_> = (0..3).map(|n| drain(cluster, &format!("w{n}"))).collect();
    assert_eq!(workers[0].lease().await.unwrap().len(), 16);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.clear();
        for worker in &workers {
            held.push(worker.lease().await.unwrap());
        }
    }
    let mut sizes: Vec<_> = held.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 6, 6]);
    let distinct: BTreeSet<_> = held.concat().into_iter().collect();
    assert_eq!(distinct.len(), 16);
    workers[0].release().await.unwrap();
    for worker in &workers[1..] {
        assert_eq!(worker.lease().await.unwrap().len(), 8);
    }
}

#[tokio::test]
async fn the_queue_tells_its_length_and_age() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    under.chat(channel, ann, 4).await;
    let cluster = under.cluster.as_ref().unwrap();
    let waiting = queue::waiting(&cluster.redis).await.unwrap();
    assert_eq!(waiting.len(), 16);
    let busy: Vec<_> = waiting.iter().filter(|it| it.entries > 0).collect();
    assert_eq!((busy.len(), busy[0].shard), (1, Shard::of(channel)));
    assert_eq!(
        (busy[0].channels, busy[0].entries, busy[0].epoch),
        (1, 5, Some(1))
    );
    assert!(busy[0].oldest_age < WITHIN);
    under.drain().await;
    let waiting = queue::waiting(&cluster.redis).await.unwrap();
    assert!(
        waiting
            .iter()
            .all(|it| it.entries == 0 && it.oldest_age.is_zero())
    );
}

#[tokio::test]
async fn stored_waits_for_the_worker() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let receipt = under
        .one(under.say(channel, ann, "hello").await)
        .await
        .unwrap();
    assert_eq!(receipt.level, Level::Queued);
    let at = position(&receipt);
    let short = std::time::Duration::from_millis(30);
    assert!(under.log.stored(channel, at, short).await.is_err());
    let (stored, _) = tokio::join!(under.log.stored(channel, at, WITHIN), under.drain());
    stored.unwrap();
}
