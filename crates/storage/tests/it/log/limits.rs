//! What the log refuses, and what it goes on with when half of it is away.

use std::time::{Duration, Instant};

use banter_protocol::entry::Level;
use banter_storage::log::{Append, Refused};
use banter_storage::{Durability, Error, Redis};

use super::fixture::{LAZY, Under};
use crate::servers::redis::Server;

#[tokio::test]
async fn a_channel_takes_so_many_entries_at_once_and_no_more() {
    let under = Under::redis().await;
    let (channel, ann) = under.joined().await;
    let template = under.say(channel, ann, "hello").await;
    let batch = |count: usize| -> Vec<Append> {
        let message = |_| {
            let mut append = template.clone();
            let banter_storage::log::Act::Message { id, .. } = &mut append.act else {
                unreachable!()
            };
            *id = uuid::Uuid::now_v7().to_string().parse().unwrap();
            append
        };
        (0..count).map(message).collect()
    };
    let first = batch(1000);
    let mut accepted = 0;
    let mut last = Vec::new();
    for batch in [first.clone(), batch(1000), batch(1000), batch(1000)] {
        last = under.all(batch).await;
        accepted += last.iter().filter(|it| it.is_ok()).count();
    }
    assert!((2000..3500).contains(&accepted), "{accepted}");
    let Some(Err(Refused::SlowDown { retry_after_ms })) = last.last() else {
        panic!("{:?}", last.last());
    };
    assert!((1..=1000).contains(retry_after_ms), "{retry_after_ms}");
    // What was accepted is answered again at any time.
    assert!(under.all(first).await.iter().all(Result::is_ok));
    let other = under.channel(0x19, ann).await;
    under.one(under.join(other, ann).await).await.unwrap();
}

#[tokio::test]
async fn full_memory_stops_appends_and_nothing_else() {
    let server = Server::start_with(&["--maxmemory", "12mb", LAZY[0], LAZY[1]]);
    let under = Under::on(server).await;
    let (channel, ann) = under.joined().await;
    let body = "x".repeat(16_000);
    let mut accepted = 0;
    let full = loop {
        let message = under.say(channel, ann, &body).await;
        match under.log.append(vec![message]).await {
            Ok(answers) if answers[0].is_ok() => accepted += 1,
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
        assert!(accepted < 2_000);
    };
    assert!(matches!(full, Error::Overloaded), "{full}");
    assert!(accepted > 100, "{accepted}");
    assert_eq!(
        under.log.heads(&[channel]).await.unwrap()[&channel].seq,
        accepted + 1
    );
    assert_eq!(under.drain().await as u64, accepted + 1);
    let begun = Instant::now();
    while under
        .log
        .append(vec![under.say(channel, ann, "again").await])
        .await
        .is_err()
    {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_that_would_forget_is_named_at_the_start() {
    let open = async |settings: &[&str], wanted| {
        let server = Server::start_with(settings);
        Redis::open(&server.url(), None, wanted).await.map(drop)
    };
    let refused = open(&LAZY, Durability::Always).await.unwrap_err();
    assert!(matches!(refused, Error::Settings(_)), "{refused:?}");
    assert!(
        refused
            .to_string()
            .contains("log.durability = \"everysec\""),
        "{refused}"
    );
    open(&LAZY, Durability::Everysec).await.unwrap();
    let nothing = ["--appendonly", "no"];
    assert!(open(&nothing, Durability::Everysec).await.is_err());
    open(&nothing, Durability::None).await.unwrap();
    let evicting = ["--maxmemory-policy", "allkeys-lru"];
    let refused = open(&evicting, Durability::None).await.unwrap_err();
    assert!(refused.to_string().contains("noeviction"), "{refused}");
}

#[tokio::test]
async fn passwords_are_taken_and_never_repeated() {
    let server = Server::start_with(&["--requirepass", "hunter2"]);
    let place = server.url();
    let inside = place.replace("redis://", "redis://:hunter2@");
    let open = async |url: &str, password| Redis::open(url, password, Durability::Always).await;
    open(&place, Some("hunter2")).await.unwrap();
    open(&inside, None).await.unwrap();
    for (url, password) in [
        (place.as_str(), None),
        (&place, Some("hunter3")),
        ("redis://:hunter3@127.0.0.1:port", None),
        ("http://:hunter3@127.0.0.1", None),
    ] {
        let refused = open(url, password).await.unwrap_err();
        let text = format!("{refused} {refused:?}");
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[tokio::test]
async fn without_redis_sends_are_refused_soon_and_history_is_incomplete() {
    let mut under = Under::durable().await;
    let (channel, ann) = under.joined().await;
    under.chat(channel, ann, 2).await;
    under.drain().await;
    under.chat(channel, ann, 2).await;
    let message = under.say(channel, ann, "when Redis is back").await;
    under.cluster().server.kill();
    for _ in 0..5 {
        let begun = Instant::now();
        let refused = under.log.append(vec![message.clone()]).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
    let page = under.newest(channel).await;
    assert_eq!((page.records.len(), page.complete), (3, false));
    assert_eq!(
        under
            .entries
            .range(channel, 0, Some(3), 10)
            .await
            .unwrap()
            .len(),
        3
    );
    assert!(under.entries.range(channel, 0, None, 10).await.is_err());
    under.cluster().server.up();
    under.reconnect().await;
    under.one(message).await.unwrap();
    assert_eq!(under.history(channel).await.len(), 6);
}

#[tokio::test]
async fn without_the_database_fresh_messages_go_on_and_the_rest_is_refused() {
    let database = crate::servers::postgres::Server::start();
    let under = Under::with(Server::start_with(&LAZY), &database.url("postgres")).await;
    let (channel, ann) = under.joined().await;
    let join = under.join(channel, ann).await;
    let fresh = under.say(channel, ann, "fresh").await;
    let second = under.say(channel, ann, "fresh too").await;
    let plain = under
        .say_as("plain", channel, ann, "must be looked up")
        .await;
    let elsewhere = under.channel(8, ann).await;
    let unseeded = under
        .say(elsewhere, ann, "nobody knows where this one ends")
        .await;
    database.down();
    let batch = vec![fresh, plain.clone(), join, unseeded, second];
    let answers: Vec<_> = under.all(batch).await;
    let numbers: Vec<_> = answers.into_iter().map(|it| it.map(|it| it.seq)).collect();
    let away = Err(Refused::Unavailable);
    assert_eq!(numbers, [Ok(2), away, away, away, Ok(3)]);
    database.up().unwrap();
    let begun = Instant::now();
    let receipt = loop {
        if let Ok(receipt) = under.one(plain.clone()).await {
            break receipt;
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((receipt.seq, receipt.level), (4, Level::Queued));
    under.drain().await;
    assert_eq!(under.history(channel).await.len(), 4);
}
