//! Seats: one change of an account's memberships at a time, in all processes.

use std::future::Future;
use std::time::Duration;

use banter_protocol::id::UserId;
use banter_storage::Postgres;
use banter_storage::channels::Channels;
use banter_storage::postgres::Role;

use crate::fixture::{Fixture, on_every_database};
use crate::servers::postgres::{Server, shared};

on_every_database! {
    a_seat_is_held_by_one_at_a_time,
    a_seat_is_given_back_by_who_gave_up,
}

const ANN: UserId = UserId::from_bytes([1; 16]);
const BOB: UserId = UserId::from_bytes([2; 16]);

/// Whether it is still waited for, after a time in which it would have come.
async fn waits<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(Duration::from_millis(100), future)
        .await
        .is_err()
}

async fn a_seat_is_held_by_one_at_a_time(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    let same = channels.clone();
    let seat = channels.hold_seat(ANN).await.unwrap();
    let mut second = Box::pin(same.hold_seat(ANN));
    assert!(waits(&mut second).await);
    let _other = channels.hold_seat(BOB).await.unwrap();
    drop(seat);
    let seat = second.await.unwrap();
    assert!(waits(channels.hold_seat(ANN)).await);
    drop(seat);
    drop(channels.hold_seat(ANN).await.unwrap());
}

async fn a_seat_is_given_back_by_who_gave_up(fixture: Fixture) {
    let channels = Channels::new(&fixture.database);
    // So that the connection is there, and what is given up is the question.
    drop(channels.hold_seat(ANN).await.unwrap());
    for round in 0..20 {
        give_up(&channels, round).await;
        drop(channels.hold_seat(ANN).await.unwrap());
    }
}

/// Asks for a seat and goes away: at once every other time, so that the answer is under way.
async fn give_up(channels: &Channels, round: u64) {
    let patience = Duration::from_millis(round % 2 * round / 4);
    drop(tokio::time::timeout(patience, channels.hold_seat(ANN)).await);
}

/// The channels as two processes see them.
async fn two_processes(url: &str) -> [Channels; 2] {
    let open = async || Channels::new(&Postgres::open(url, Role::Gateway).await.unwrap().into());
    [open().await, open().await]
}

#[tokio::test]
async fn a_seat_is_held_by_one_process_at_a_time() {
    let [here, there] = two_processes(&shared().database(false).await).await;
    let seat = here.hold_seat(ANN).await.unwrap();
    let mut second = Box::pin(there.hold_seat(ANN));
    assert!(waits(&mut second).await);
    let _other = there.hold_seat(BOB).await.unwrap();
    drop(seat);
    let seat = second.await.unwrap();
    assert!(waits(here.hold_seat(ANN)).await);
    drop(seat);
    drop(here.hold_seat(ANN).await.unwrap());
}

#[tokio::test]
async fn seats_are_given_back_to_other_processes_by_who_gave_up() {
    let [here, there] = two_processes(&shared().database(false).await).await;
    // So that the connection is there, and what is given up is the question.
    drop(here.hold_seat(ANN).await.unwrap());
    for round in 0..20 {
        give_up(&here, round).await;
        drop(there.hold_seat(ANN).await.unwrap());
    }
}

#[tokio::test]
async fn hundreds_hold_their_seats_at_once() {
    let [here, _] = two_processes(&shared().database(false).await).await;
    let mut seats = Vec::new();
    for n in 0..=255 {
        seats.push(here.hold_seat(UserId::from_bytes([n; 16])).await.unwrap());
    }
    assert!(waits(here.hold_seat(ANN)).await);
    drop(seats);
    drop(here.hold_seat(ANN).await.unwrap());
}

#[tokio::test]
async fn a_seat_is_held_again_after_the_server_was_away() {
    let server = Server::start();
    let [here, there] = two_processes(&server.database(true).await).await;
    let lost = here.hold_seat(ANN).await.unwrap();
    server.down();
    assert!(here.hold_seat(BOB).await.is_err());
    server.up().unwrap();
    let seat = there.hold_seat(ANN).await.unwrap();
    // What was lost takes nothing from who has it now.
    drop(lost);
    drop(here.hold_seat(BOB).await.unwrap());
    assert!(waits(here.hold_seat(ANN)).await);
    drop(seat);
    drop(here.hold_seat(ANN).await.unwrap());
}
