//! A connection against a server that misbehaves in every way the protocol knows.

mod fake;

use std::collections::BTreeMap;
use std::time::Duration;

use banter_client::Error;
use banter_client::connection::{Event, Events};
use banter_protocol::id::{ChannelId, Position};
use fake::{CHANNEL, Fake, entry};
use serde_json::{Value, json};

fn after(seq: u64) -> BTreeMap<ChannelId, Position> {
    [(CHANNEL, Position { seq, epoch: 1 })].into()
}

async fn next(events: &mut Events) -> Event {
    let waited = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
    waited
        .expect("an event in time")
        .expect("a live connection")
}

/// The numbers of the next entries, whatever else happens meanwhile.
async fn entries(events: &mut Events, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        if let Event::Entry(entry) = next(events).await {
            seen.push(entry.seq);
        }
    }
    seen
}

async fn connected(events: &mut Events) {
    while !matches!(next(events).await, Event::Connected(_)) {}
}

fn bodies(sends: &[Value]) -> Vec<&str> {
    sends
        .iter()
        .map(|send| send["body"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_lost_socket_is_resumed_where_it_broke() {
    let mut fake = Fake::start(0).await;
    let (_handle, mut events) = fake.client.connect(after(4));
    let (mut peer, hello) = fake.welcomed(5).await;
    assert_eq!(
        hello["resume"][CHANNEL.to_string()],
        json!({"seq": 4, "epoch": 1})
    );
    for seq in [5, 6] {
        peer.write(entry(seq)).await;
    }
    assert_eq!(entries(&mut events, 2).await, [5, 6]);
    drop(peer);
    let (mut peer, hello) = fake.welcomed(8).await;
    assert_eq!(hello["resume"][CHANNEL.to_string()]["seq"], 6);
    for seq in [6, 7, 8] {
        peer.write(entry(seq)).await;
    }
    assert_eq!(entries(&mut events, 2).await, [7, 8]);
}

#[tokio::test]
async fn a_refused_upgrade_is_tried_again_when_the_server_says() {
    let mut fake = Fake::start(0).await;
    let problem =
        json!({"type": "x", "title": "Too many.", "status": 429, "code": "x"}).to_string();
    let answer = |head: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    };
    fake.asked.lock().unwrap().refusals = vec![
        answer("503 Service Unavailable", "a proxy's page"),
        answer("429 Too Many Requests\r\nRetry-After: 2", &problem),
    ];
    let (_handle, mut events) = fake.client.connect(BTreeMap::new());
    let mut waits = Vec::new();
    while waits.len() < 2 {
        if let Event::Disconnected { retry_in, reason } = next(&mut events).await {
            waits.push((retry_in, reason));
        }
    }
    fake.welcomed(0).await;
    connected(&mut events).await;
    let seconds = Duration::from_secs;
    // The jitter of the first and the second try comes on top.
    assert!((seconds(2)..=seconds(3)).contains(&waits[0].0), "{waits:?}");
    assert!(waits[0].1.contains("Too many"), "{waits:?}");
    assert!((seconds(1)..=seconds(2)).contains(&waits[1].0), "{waits:?}");
    assert!(waits[1].1.contains("503"), "{waits:?}");
}

#[tokio::test]
async fn a_wrong_answer_to_an_upgrade_is_no_socket() {
    let mut fake = Fake::start(0).await;
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket";
    let wrong = format!("{head}\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    fake.asked.lock().unwrap().refusals = vec![wrong];
    let (_handle, mut events) = fake.client.connect(BTreeMap::new());
    match next(&mut events).await {
        Event::Disconnected { reason, .. } => assert!(reason.contains("Accept"), "{reason}"),
        other => panic!("{other:?}"),
    }
    fake.welcomed(0).await;
    connected(&mut events).await;
}

#[tokio::test]
async fn missing_entries_are_paged() {
    let mut fake = Fake::start(14).await;
    let (_handle, mut events) = fake.client.connect(after(4));
    let (mut peer, _) = fake.welcomed(4).await;
    peer.write(entry(5)).await;
    peer.write(entry(14)).await;
    peer.write(entry(15)).await;
    assert_eq!(entries(&mut events, 11).await, (5..=15).collect::<Vec<_>>());
    assert_eq!(fake.asked.lock().unwrap().history.len(), 3);
}

#[tokio::test]
async fn too_far_is_paged_and_then_live() {
    let mut fake = Fake::start(9).await;
    let (_handle, mut events) = fake.client.connect(after(2));
    let (mut peer, _) = fake.welcomed(9).await;
    let reset = json!({"type": "reset", "channel": CHANNEL, "reason": "too_far",
        "seq": 9, "epoch": 1});
    peer.write(reset).await;
    peer.write(entry(10)).await;
    assert_eq!(entries(&mut events, 8).await, (3..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_had_no_answer_is_sent_again_with_its_id() {
    let mut fake = Fake::start(0).await;
    let (handle, mut events) = fake.client.connect(BTreeMap::new());
    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        ids.push(handle.send(CHANNEL, body).await.unwrap());
    }
    let (mut peer, _) = fake.welcomed(0).await;
    let first = [peer.read().await, peer.read().await, peer.read().await];
    assert_eq!(bodies(&first), ["one", "two", "three"]);
    peer.ack(&first[0], 1, "stored").await;
    peer.close(4000).await;
    let (mut peer, _) = fake.welcomed(1).await;
    let again = [peer.read().await, peer.read().await];
    assert_eq!(again, first[1..]);
    for (send, seq) in again.iter().zip([2, 3]) {
        peer.ack(send, seq, "stored").await;
    }
    let mut acked = Vec::new();
    while acked.len() < 3 {
        if let Event::Ack(ack) = next(&mut events).await {
            acked.push(ack.id);
        }
    }
    assert_eq!(acked, ids);
    handle.close();
    assert_eq!(peer.closed().await, 1000);
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn a_log_that_lost_entries_gets_them_again() {
    let mut fake = Fake::start(0).await;
    let (handle, _events) = fake.client.connect(BTreeMap::new());
    handle.send(CHANNEL, "one").await.unwrap();
    handle.send(CHANNEL, "two").await.unwrap();
    let (mut peer, _) = fake.welcomed(0).await;
    let sends = [peer.read().await, peer.read().await];
    peer.ack(&sends[0], 1, "queued").await;
    peer.ack(&sends[1], 2, "queued").await;
    peer.write(json!({"type": "stored", "channel": CHANNEL, "seq": 1, "epoch": 1}))
        .await;
    peer.write(json!({"type": "resend"})).await;
    assert_eq!(peer.read().await, sends[1]);
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again_and_one_for_good_is_told() {
    let mut fake = Fake::start(0).await;
    let (handle, mut events) = fake.client.connect(BTreeMap::new());
    let (mut peer, _) = fake.welcomed(0).await;
    handle.send(CHANNEL, "one").await.unwrap();
    let send = peer.read().await;
    let error = |code| {
        json!({"type": "error", "code": code, "message": "no", "id": send["id"],
            "channel": CHANNEL, "retry_after_ms": 10})
    };
    peer.write(error("unavailable")).await;
    assert_eq!(peer.read().await, send);
    peer.write(error("not_a_member")).await;
    loop {
        match next(&mut events).await {
            Event::Deferred { code, .. } => assert_eq!(code, "unavailable"),
            Event::Refused { id, code, .. } => {
                assert_eq!(
                    (id.as_str(), &*code),
                    (send["id"].as_str().unwrap(), "not_a_member")
                );
                break;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_before_the_next_hello() {
    let mut fake = Fake::start(0).await;
    let (_handle, mut events) = fake.client.connect(BTreeMap::new());
    let (peer, hello) = fake.socket().await;
    assert_eq!(hello["token"], "token-0");
    peer.close(4401).await;
    let (_peer, hello) = fake.welcomed(0).await;
    assert_eq!(hello["token"], "token-1");
    connected(&mut events).await;
}

#[tokio::test]
async fn a_token_is_renewed_in_place_at_four_fifths_of_its_life() {
    let mut fake = Fake::start(0).await;
    let (_handle, _events) = fake.client.connect(BTreeMap::new());
    let (mut peer, _) = fake.socket().await;
    peer.welcome(0, 1).await;
    assert_eq!(
        peer.read().await,
        json!({"type": "auth", "token": "token-1"})
    );
    peer.write(json!({"type": "renewed", "expires_in": 1}))
        .await;
    assert_eq!(
        peer.read().await,
        json!({"type": "auth", "token": "token-2"})
    );
}

#[tokio::test]
async fn a_move_opens_the_new_socket_before_it_closes_the_old() {
    let mut fake = Fake::start(0).await;
    let (_handle, mut events) = fake.client.connect(after(0));
    let (mut old, _) = fake.welcomed(0).await;
    old.write(entry(1)).await;
    assert_eq!(entries(&mut events, 1).await, [1]);
    old.write(json!({"type": "reconnect", "after_ms": 10}))
        .await;
    let (mut new, hello) = fake.socket().await;
    assert_eq!(hello["resume"][CHANNEL.to_string()]["seq"], 1);
    old.write(entry(2)).await;
    assert_eq!(entries(&mut events, 1).await, [2]);
    new.welcome(3, 600).await;
    assert_eq!(old.closed().await, 1000);
    for seq in [2, 3] {
        new.write(entry(seq)).await;
    }
    assert_eq!(entries(&mut events, 1).await, [3]);
}

#[tokio::test]
async fn a_close_for_good_ends_the_connection() {
    for code in [4504, 4505, 4509] {
        let mut fake = Fake::start(0).await;
        let (handle, mut events) = fake.client.connect(BTreeMap::new());
        let (peer, _) = fake.socket().await;
        peer.close(code).await;
        match next(&mut events).await {
            Event::Ended(Error::SessionEnded) => assert_eq!(code, 4505),
            Event::Ended(Error::Closed { code: told, .. }) => assert_eq!(code, told),
            other => panic!("{other:?}"),
        }
        assert!(events.next().await.is_none());
        assert!(handle.send(CHANNEL, "late").await.is_err());
    }
}

#[tokio::test]
async fn the_outbox_refuses_more_than_it_may_hold() {
    use banter_client::connection::SendError;
    let fake = Fake::start(0).await;
    let (handle, _events) = fake.client.connect(BTreeMap::new());
    for _ in 0..1000 {
        handle.try_send(CHANNEL, "x").unwrap();
    }
    assert_eq!(handle.try_send(CHANNEL, "x"), Err(SendError::Full));
    assert_eq!(handle.try_send(CHANNEL, " "), Err(SendError::Body));
}
