//! Stored entries, read by their numbers.

use banter_protocol::entry::Kind;
use banter_protocol::id::{ChannelId, Position, Seq, UserId};
use banter_protocol::text::Username;
use banter_storage::Error;
use banter_storage::entries::{Anchor, Entries, Record};

use crate::fixture::{Fixture, on_every_database, record};

on_every_database! {
    pages_are_ascending_and_know_the_ends,
    ranges_are_cut_at_both_ends_and_at_the_limit,
    a_hole_is_an_error_and_never_a_gap,
    the_head_is_the_newest_entry_or_nothing_in_the_current_epoch,
    every_kind_of_entry_is_read_as_it_was_written,
}

/// A channel of `ann` in which she has said `messages` things.
async fn spoken(fixture: &Fixture, messages: u64) -> (ChannelId, UserId) {
    let ann = fixture.account(1, "ann").await;
    fixture.make(9, "one", false, ann).await;
    let channel = crate::fixture::channel(9);
    fixture.say(channel, ann, messages).await;
    (channel, ann)
}

fn numbers(records: &[Record]) -> Vec<Seq> {
    records.iter().map(|r| r.entry.seq).collect()
}

async fn pages_are_ascending_and_know_the_ends(fixture: Fixture) {
    let entries = Entries::new(&fixture.database);
    let (channel, _) = spoken(&fixture, 9).await;
    let page = async |anchor, limit| {
        let page = entries.page(channel, anchor, limit).await.unwrap();
        (numbers(&page.records), page.has_older, page.has_newer)
    };
    assert_eq!(page(Anchor::Newest, 3).await, (vec![8, 9, 10], true, false));
    assert_eq!(
        page(Anchor::Before(4), 3).await,
        (vec![1, 2, 3], false, true)
    );
    assert_eq!(page(Anchor::After(4), 3).await, (vec![5, 6, 7], true, true));
    assert_eq!(
        page(Anchor::Around(5), 3).await,
        (vec![4, 5, 6], true, true)
    );
    assert_eq!(page(Anchor::Before(0), 3).await, (vec![], false, true));
    assert_eq!(page(Anchor::After(10), 3).await, (vec![], true, false));
    let other = ChannelId::from_bytes([8; 16]);
    let empty = entries.page(other, Anchor::Newest, 50).await.unwrap();
    assert_eq!(
        (empty.records.len(), empty.has_older, empty.has_newer),
        (0, false, false)
    );
}

async fn ranges_are_cut_at_both_ends_and_at_the_limit(fixture: Fixture) {
    let entries = Entries::new(&fixture.database);
    let (channel, _) = spoken(&fixture, 9).await;
    let range = async |after, up_to, limit| {
        numbers(&entries.range(channel, after, up_to, limit).await.unwrap())
    };
    assert_eq!(range(0, None, 3).await, [1, 2, 3]);
    assert_eq!(range(3, Some(5), 100).await, [4, 5]);
    assert_eq!(range(8, None, 100).await, [9, 10]);
    assert_eq!(range(10, None, 100).await, [0; 0]);
    assert_eq!(range(5, Some(5), 100).await, [0; 0]);
    assert_eq!(range(Seq::MAX, None, 100).await, [0; 0]);
}

async fn a_hole_is_an_error_and_never_a_gap(fixture: Fixture) {
    let entries = Entries::new(&fixture.database);
    let (channel, _) = spoken(&fixture, 9).await;
    fixture.execute("DELETE FROM entries WHERE seq = 5").await;
    assert_eq!(
        entries.range(channel, 0, Some(4), 50).await.unwrap().len(),
        4
    );
    let holed = entries.page(channel, Anchor::Newest, 50).await;
    assert!(matches!(holed, Err(Error::Corrupt(_))), "{holed:?}");
    let begins_in_it = entries.range(channel, 4, None, 2).await;
    assert!(matches!(begins_in_it, Err(Error::Corrupt(_))));
}

async fn the_head_is_the_newest_entry_or_nothing_in_the_current_epoch(fixture: Fixture) {
    let entries = Entries::new(&fixture.database);
    let (channel, _) = spoken(&fixture, 9).await;
    fixture.set_epoch_3().await;
    assert_eq!(
        entries.head(channel).await.unwrap(),
        Position { seq: 10, epoch: 1 }
    );
    let other = ChannelId::from_bytes([8; 16]);
    assert_eq!(
        entries.head(other).await.unwrap(),
        Position { seq: 0, epoch: 3 }
    );
    assert_eq!(entries.epoch_of(channel, 10).await.unwrap(), Some(1));
    assert_eq!(entries.epoch_of(channel, 11).await.unwrap(), None);
    assert_eq!(entries.epoch_of(channel, Seq::MAX).await.unwrap(), None);
}

async fn every_kind_of_entry_is_read_as_it_was_written(fixture: Fixture) {
    let entries = Entries::new(&fixture.database);
    let (channel, ann) = spoken(&fixture, 1).await;
    let bob = fixture.account(2, "bob").await;
    fixture.join(channel, bob).await;
    let left = |by| Kind::Left {
        user: Username::parse("bob").unwrap(),
        by,
    };
    let by_ann = Some(Username::parse("ann").unwrap());
    let (bob_left, nobody) = (Some(bob), None);
    fixture
        .write(&[
            record(channel, 4, 5, bob_left, left(by_ann)),
            record(channel, 5, 5, bob_left, left(None)),
            record(channel, 6, 5, nobody, Kind::Tombstone),
        ])
        .await;
    let records = entries.range(channel, 0, None, 50).await.unwrap();
    let frames: Vec<String> = records.iter().map(|r| String::from(&r.entry)).collect();
    let frame = |name: &str, seq: u8, content: &str, ms: u16| {
        format!(
            r#"{{"type":"{name}","channel":"{channel}","seq":{seq},"epoch":1,{content}{}"#,
            format_args!(
                r#""sent_at":"1970-01-01T00:00:0{}.00{}Z"}}"#,
                ms / 1000,
                ms % 1000
            )
        )
    };
    let said = r#""id":"id-2","author":"ann","body":"body 1","#;
    assert_eq!(
        frames,
        [
            frame("joined", 1, r#""user":"ann","#, 7),
            frame("message", 2, said, 1000),
            frame("joined", 3, r#""user":"bob","#, 7),
            frame("left", 4, r#""user":"bob","by":"ann","#, 5),
            frame("left", 5, r#""user":"bob","#, 5),
            frame("tombstone", 6, "", 5),
        ]
    );
    let users: Vec<_> = records.iter().map(|r| r.user).collect();
    assert_eq!(
        users,
        [Some(ann), Some(ann), Some(bob), Some(bob), Some(bob), None]
    );
    assert!(matches!(records[1].entry.kind, Kind::Message { .. }));
}
