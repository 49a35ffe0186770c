//! What every log does.

use banter_protocol::entry::Level;
use banter_storage::channels::Channels;
use banter_storage::log::Refused;

use super::fixture::{Under, WITHIN, on_every_log, position};

on_every_log!(
    numbers_are_dense_and_in_the_order_of_the_batch,
    a_retry_gets_the_first_answer_however_late,
    the_same_id_of_another_author_or_channel_is_another_message,
    memberships_begin_and_end_with_entries,
    heads_are_the_newest_numbers,
    what_is_accepted_is_in_history_at_once,
    channels_of_many_shards_share_a_batch,
);

async fn numbers_are_dense_and_in_the_order_of_the_batch(under: Under) {
    let (channel, ann) = under.joined().await;
    let mut batch = Vec::new();
    for n in 0..5 {
        batch.push(under.say(channel, ann, &format!("body {n}")).await);
    }
    let answers = under.all(batch).await;
    let numbers: Vec<_> = answers.iter().map(|it| it.as_ref().unwrap().seq).collect();
    assert_eq!(numbers, [2, 3, 4, 5, 6]);
    assert_eq!(under.chat(channel, ann, 2).await, [7, 8]);
    for answer in answers {
        let receipt = answer.unwrap();
        assert!(receipt.fresh);
        assert_eq!((receipt.epoch, receipt.level), (1, under.log.level()));
    }
}

async fn a_retry_gets_the_first_answer_however_late(under: Under) {
    let (channel, ann) = under.joined().await;
    for id in [uuid::Uuid::now_v7().to_string(), "plain".to_owned()] {
        let message = under.say_as(&id, channel, ann, "once").await;
        let twice = under.all(vec![message.clone(), message.clone()]).await;
        let [Ok(first), Ok(second)] = &twice[..] else {
            panic!("{twice:?}");
        };
        assert!(first.fresh && !second.fresh);
        assert_eq!(position(first), position(second));
        assert_eq!(first.sent_at, second.sent_at);
        let other_body = under.say_as(&id, channel, ann, "twice").await;
        let third = under.one(other_body).await.unwrap();
        assert_eq!((third.seq, third.fresh), (first.seq, false));
        under.drain().await;
        let late = under.one(message).await.unwrap();
        assert_eq!(position(&late), position(first));
        assert_eq!((late.sent_at, late.level), (first.sent_at, Level::Stored));
    }
    let said = ["ann joined", "ann: once", "ann: once"];
    assert_eq!(under.history(channel).await, said);
}

async fn the_same_id_of_another_author_or_channel_is_another_message(under: Under) {
    let (channel, ann) = under.joined().await;
    let bob = under.fixture.account(2, "bob").await;
    let other = under.channel(8, bob).await;
    for place in [(channel, bob), (other, ann), (other, bob)] {
        under.one(under.join(place.0, place.1).await).await.unwrap();
    }
    for id in ["0190163d-8694-739b-aea5-966c26f8ad90", "plain"] {
        for (channel, user) in [(channel, ann), (channel, bob), (other, ann), (other, bob)] {
            let message = under.say_as(id, channel, user, "hello").await;
            assert!(under.one(message).await.unwrap().fresh, "{id}");
        }
    }
    assert_eq!(under.history(channel).await.len(), 6);
    assert_eq!(under.history(other).await.len(), 6);
}

async fn memberships_begin_and_end_with_entries(under: Under) {
    let (channel, ann) = under.joined().await;
    let bob = under.fixture.account(2, "bob").await;
    let leave = under.leave(channel, bob).await;
    assert_eq!(under.one(leave.clone()).await, Err(Refused::NotAMember));
    let join = under.join(channel, bob).await;
    let first = under.one(join.clone()).await.unwrap();
    assert_eq!((first.seq, first.fresh), (2, true));
    for drained in [false, true] {
        if drained {
            under.drain().await;
        }
        let again = under.one(join.clone()).await.unwrap();
        assert_eq!((again.seq, again.fresh), (2, false));
        assert_eq!(again.sent_at, first.sent_at);
    }
    let message = under.say(channel, bob, "bye").await;
    let late = under.say(channel, bob, "am I here").await;
    let batch = vec![message.clone(), leave.clone(), message, late, leave, join];
    let answers = under.all(batch).await;
    let numbers: Vec<_> = answers.into_iter().map(|it| it.map(|it| it.seq)).collect();
    let refused = Err(Refused::NotAMember);
    assert_eq!(numbers, [Ok(3), Ok(4), refused, refused, refused, Ok(5)]);
    under.drain().await;
    let channels = Channels::new(&under.fixture.database);
    let membership = channels.membership(channel, bob).await.unwrap().unwrap();
    assert_eq!(membership.seq, 5);
    assert_eq!(
        channels
            .membership(channel, ann)
            .await
            .unwrap()
            .unwrap()
            .seq,
        1
    );
    assert_eq!(
        under.history(channel).await,
        [
            "ann joined",
            "bob joined",
            "bob: bye",
            "bob left",
            "bob joined"
        ]
    );
}

async fn heads_are_the_newest_numbers(under: Under) {
    let (channel, ann) = under.joined().await;
    let silent = under.channel(8, ann).await;
    under.chat(channel, ann, 3).await;
    for _ in 0..2 {
        let heads = under.log.heads(&[channel, silent]).await.unwrap();
        assert_eq!((heads[&channel].seq, heads[&channel].epoch), (4, 1));
        assert_eq!((heads[&silent].seq, heads[&silent].epoch), (0, 1));
        assert_eq!(under.entries.head(channel).await.unwrap().seq, 4);
        assert_eq!(under.entries.epoch_of(channel, 4).await.unwrap(), Some(1));
        assert_eq!(under.entries.epoch_of(channel, 5).await.unwrap(), None);
        under.drain().await;
        under
            .log
            .stored(channel, heads[&channel], WITHIN)
            .await
            .unwrap();
    }
}

async fn what_is_accepted_is_in_history_at_once(under: Under) {
    let (channel, ann) = under.joined().await;
    for count in 1..=3 {
        under.chat(channel, ann, count).await;
        let history = under.history(channel).await;
        let unstored = under.entries.range(channel, 1, Some(3), 1).await.unwrap();
        assert_eq!(unstored.len(), 1);
        if count == 2 {
            under.drain().await;
        }
        assert_eq!(under.history(channel).await, history);
    }
    let part = under.entries.range(channel, 2, Some(6), 200).await.unwrap();
    let numbers: Vec<_> = part.iter().map(|it| it.entry.seq).collect();
    assert_eq!(numbers, [3, 4, 5, 6]);
}

async fn channels_of_many_shards_share_a_batch(under: Under) {
    let ann = under.fixture.account(1, "ann").await;
    let mut batch = Vec::new();
    for n in 20..60 {
        let channel = under.channel(n, ann).await;
        batch.push(under.join(channel, ann).await);
        batch.push(under.say(channel, ann, "hello").await);
    }
    let answers = under.all(batch).await;
    for pair in answers.chunks(2) {
        assert_eq!(pair[0].as_ref().unwrap().seq, 1);
        assert_eq!(pair[1].as_ref().unwrap().seq, 2);
    }
    under.drain().await;
    let last = crate::fixture::channel(59);
    assert_eq!(under.history(last).await, ["ann joined", "ann: hello"]);
}
