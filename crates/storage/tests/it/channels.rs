//! Channels, their members, and who is barred from them.

use banter_protocol::id::Position;
use banter_protocol::time::Timestamp;
use banter_storage::channels::{Channel, Channels, Creation, Filter};

use crate::fixture::{Fixture, channel, new_channel as new, on_every_database};

on_every_database! {
    a_public_name_is_taken_under_case_folding_and_a_private_one_never,
    a_channel_is_seen_by_whom_it_concerns,
    lists_are_paged_filtered_and_hide_what_others_keep_private,
    a_channel_without_an_entry_does_not_exist_and_gives_its_name_back,
    members_are_paged_and_told_apart_from_the_owner,
    a_bar_is_lifted_once_however_often_it_was_set,
}

/// How long a channel without an entry keeps its name, and a little longer.
const UNBORN_LOSES_NAME_MS: i64 = 60_001;

fn ids(list: &[Channel]) -> Vec<u8> {
    list.iter().map(|c| c.id.as_bytes()[0]).collect()
}

async fn a_public_name_is_taken_under_case_folding_and_a_private_one_never(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    let ann = fixture.account(1, "ann").await;
    fixture.make(1, "Straße", false, ann).await;
    let again = new(2, "STRASSE", false, ann);
    assert_eq!(channels.create(&again).await.unwrap(), Creation::NameTaken);
    fixture.make(3, "Straße", true, ann).await;
    fixture.make(4, "Straße", true, ann).await;
}

async fn a_channel_is_seen_by_whom_it_concerns(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    let ann = fixture.account(1, "ann").await;
    let bob = fixture.account(2, "bob").await;
    fixture.make(1, "public", false, ann).await;
    fixture.make(2, "private", true, ann).await;

    let seen = channels.seen_by(bob, channel(1)).await.unwrap().unwrap();
    assert_eq!(seen.owner.unwrap().username.as_str(), "ann");
    assert_eq!(seen.head, Position { seq: 1, epoch: 1 });
    assert!(!seen.joined && !seen.private);
    assert_eq!(channels.seen_by(bob, channel(2)).await.unwrap(), None);
    assert_eq!(channels.seen_by(bob, channel(3)).await.unwrap(), None);

    fixture.join(channel(2), bob).await;
    let seen = channels.seen_by(bob, channel(2)).await.unwrap().unwrap();
    assert!(seen.joined && seen.private);
    assert_eq!(seen.head, Position { seq: 2, epoch: 1 });
}

async fn lists_are_paged_filtered_and_hide_what_others_keep_private(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    let ann = fixture.account(1, "ann").await;
    let bob = fixture.account(2, "bob").await;
    fixture.make(1, "one", false, ann).await;
    fixture.make(2, "secret", true, ann).await;
    fixture.make(3, "Two", false, bob).await;
    fixture.make(4, "Two", true, bob).await;
    fixture.make(5, "five", false, ann).await;

    let list = async |viewer, joined, name: Option<&str>, after: Option<u8>, limit| {
        let name = name.map(str::to_owned);
        let filter = Filter { joined, name };
        let after = after.map(channel);
        ids(&channels.list(viewer, &filter, after, limit).await.unwrap())
    };
    assert_eq!(list(ann, false, None, None, 10).await, [1, 2, 3, 5]);
    assert_eq!(list(bob, false, None, None, 10).await, [1, 3, 4, 5]);
    assert_eq!(list(bob, false, None, None, 2).await, [1, 3]);
    assert_eq!(list(bob, false, None, Some(3), 2).await, [4, 5]);
    assert_eq!(list(bob, false, None, Some(5), 2).await, [0; 0]);
    assert_eq!(list(bob, true, None, None, 10).await, [3, 4]);
    assert_eq!(list(bob, true, None, Some(3), 10).await, [4]);
    assert_eq!(list(bob, false, Some("Two"), None, 10).await, [3, 4]);
    assert_eq!(list(bob, false, Some("Two"), None, 1).await, [3]);
    assert_eq!(list(bob, false, Some("Two"), Some(3), 1).await, [4]);
    assert_eq!(list(ann, false, Some("Two"), None, 10).await, [3]);
    assert_eq!(list(bob, false, Some("two"), None, 10).await, [0; 0]);
    assert_eq!(list(bob, true, Some("one"), None, 10).await, [0; 0]);
    assert_eq!(list(ann, true, Some("one"), None, 10).await, [1]);
}

async fn a_channel_without_an_entry_does_not_exist_and_gives_its_name_back(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    let ann = fixture.account(1, "ann").await;
    let all = Filter::default();
    let unborn = new(1, "name", false, ann);
    assert_eq!(channels.create(&unborn).await.unwrap(), Creation::Created);
    assert_eq!(channels.seen_by(ann, channel(1)).await.unwrap(), None);
    assert_eq!(channels.list(ann, &all, None, 10).await.unwrap(), []);

    // Somebody may still be about to write the first entry.
    let mut rival = new(2, "name", false, ann);
    assert_eq!(channels.create(&rival).await.unwrap(), Creation::NameTaken);
    assert!(channels.abandon(channel(1)).await.unwrap());
    assert_eq!(channels.create(&unborn).await.unwrap(), Creation::Created);
    rival.created_at = Timestamp::from_ms(1_000_000 + UNBORN_LOSES_NAME_MS);
    assert_eq!(channels.create(&rival).await.unwrap(), Creation::Created);

    fixture.join(channel(2), ann).await;
    assert!(!channels.abandon(channel(2)).await.unwrap());
    assert!(channels.seen_by(ann, channel(2)).await.unwrap().is_some());
    rival.created_at = Timestamp::from_ms(i64::MAX);
    rival.id = channel(3);
    assert_eq!(channels.create(&rival).await.unwrap(), Creation::NameTaken);
}

async fn members_are_paged_and_told_apart_from_the_owner(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    let ann = fixture.account(1, "ann").await;
    let bob = fixture.account(2, "bob").await;
    fixture.make(1, "one", false, bob).await;
    fixture.make(2, "two", false, bob).await;
    fixture.join(channel(1), ann).await;

    let page = channels.members(channel(1), None, 10).await.unwrap();
    let names: Vec<_> = page
        .iter()
        .map(|m| (m.username.as_str(), m.owner))
        .collect();
    assert_eq!(names, [("ann", false), ("bob", true)]);
    let rest = channels.members(channel(1), Some(ann), 10).await.unwrap();
    assert_eq!(rest, page[1..]);

    let membership = channels.membership(channel(1), ann).await.unwrap().unwrap();
    assert_eq!(
        (membership.seq, membership.epoch, membership.since.as_ms()),
        (2, 1, 7)
    );
    assert_eq!(channels.membership(channel(2), ann).await.unwrap(), None);
    assert_eq!(
        channels
            .joined(bob)
            .await
            .unwrap()
            .into_iter()
            .map(|(id, _)| id)
            .collect::<Vec<_>>(),
        [channel(1), channel(2)]
    );
    assert_eq!(channels.count_joined(bob).await.unwrap(), 2);
    assert_eq!(channels.count_joined(ann).await.unwrap(), 1);
}

async fn a_bar_is_lifted_once_however_often_it_was_set(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    let ann = fixture.account(1, "ann").await;
    let bob = fixture.account(2, "bob").await;
    fixture.make(1, "one", false, ann).await;
    assert!(!channels.is_barred(channel(1), bob).await.unwrap());
    channels.bar(channel(1), bob).await.unwrap();
    channels.bar(channel(1), bob).await.unwrap();
    assert!(channels.is_barred(channel(1), bob).await.unwrap());
    assert!(!channels.is_barred(channel(1), ann).await.unwrap());
    channels.unbar(channel(1), bob).await.unwrap();
    channels.unbar(channel(1), bob).await.unwrap();
    assert!(!channels.is_barred(channel(1), bob).await.unwrap());
}
