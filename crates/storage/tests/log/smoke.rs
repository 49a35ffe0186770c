//! A first look.
use crate::postgres_server::PostgresServer;
use crate::redis_server::RedisServer;
use banter_protocol::id::{ChannelId, UserId};
use banter_protocol::text::{Body, Username};
use banter_storage::log::{Act, Append, Log, RedisLog};
use banter_storage::postgres::Role;
use banter_storage::{Durability, Postgres, Redis};

#[tokio::test]
async fn smoke() {
    let redis = RedisServer::start();
    let pg = PostgresServer::start();
    let postgres = Postgres::open(&pg.url(), Role::Gateway).await.unwrap();
    let connection = Redis::open(&redis.url(), None, Durability::Always)
        .await
        .unwrap();
    let log = RedisLog::new(connection, postgres);
    let channel = ChannelId::from_bytes([3; 16]);
    let user = UserId::from_bytes([1; 16]);
    let append = |act| Append {
        channel,
        user,
        username: Username::parse("ann").unwrap(),
        act,
    };
    let message = |text: &str| {
        append(Act::Message {
            id: uuid::Uuid::now_v7().to_string().parse().unwrap(),
            body: Body::parse(text).unwrap(),
        })
    };
    let one = message("one");
    let log = Log::Redis(log);
    println!(
        "{:?}",
        log.append(vec![append(Act::Join), one.clone(), message("two")])
            .await
    );
    println!(
        "{:?}",
        log.append(vec![append(Act::Join), one, message("three")])
            .await
    );
    println!("{:?}", log.heads(&[channel]).await);
    let Log::Redis(redis_log) = &log else {
        unreachable!()
    };
    println!("{:#?}", redis_log.tail(channel, 1, 10).await);
    println!(
        "{:?}",
        log.append(vec![
            append(Act::Leave { by: None }),
            message("refused"),
            append(Act::Leave { by: None }),
            append(Act::Join)
        ])
        .await
    );
    let mut raw = redis.connection();
    redis::cmd("FLUSHALL").exec(&mut raw).unwrap();
    println!(
        "{:?}",
        log.append(vec![append(Act::Join), message("four")]).await
    );
    println!("{:?}", log.heads(&[channel]).await);
}
