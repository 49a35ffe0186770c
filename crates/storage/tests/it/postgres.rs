//! What is PostgreSQL's alone: opening it, losing it, and several processes at once.

use std::time::{Duration, Instant};

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use banter_storage::accounts::{Accounts, NewAccount};
use banter_storage::postgres::Role;
use banter_storage::revocations::{Change, Revocations};
use banter_storage::sessions::{Lifetimes, NewSession, Refreshed, Sessions};
use banter_storage::{Database, Error, Postgres};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::servers::free_port;
use crate::servers::postgres::{PASSWORD, Server, shared};

const LIFETIMES: Lifetimes = Lifetimes {
    idle: Duration::from_secs(100),
    absolute: Duration::from_secs(1_000),
    grace: Duration::ZERO,
};

async fn execute(url: &str, sql: &'static str) {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    options.connect().await.unwrap().execute(sql).await.unwrap();
}

async fn open(url: &str) -> Database {
    Postgres::open(url, Role::Auth).await.unwrap().into()
}

/// An account with its sessions.
async fn account(database: &Database, username: &str, sessions: usize) -> (UserId, Vec<SessionId>) {
    let account = NewAccount {
        id: UserId::from_uuid(Uuid::now_v7()),
        username: Username::parse(username).unwrap(),
        password: String::new(),
        created_at: Timestamp::from_ms(0),
    };
    let created = Accounts::new(database).create(&account, None).await;
    assert!(created.unwrap());
    let mut ids = Vec::new();
    for _ in 0..sessions {
        let session = session(account.id);
        ids.push(session.id);
        assert!(Sessions::new(database).begin(&session).await.unwrap());
    }
    (account.id, ids)
}

fn session(user: UserId) -> NewSession {
    NewSession {
        id: SessionId::from_uuid(Uuid::now_v7()),
        user,
        seed: [7; 32],
        created_at: Timestamp::from_ms(0),
    }
}

#[tokio::test]
async fn processes_that_start_at_once_make_one_schema() {
    let url = shared().database(true).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        tasks.spawn(async move { open(&url).await });
    }
    for database in tasks.join_all().await {
        let page = Accounts::new(&database).page(None, 1).await;
        assert_eq!(page.unwrap(), []);
    }
}

#[tokio::test]
async fn the_database_of_a_newer_version_is_left_alone() {
    let url = shared().database(false).await;
    execute(
        &url,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', true, '', 0)",
    )
    .await;
    let refused = Postgres::open(&url, Role::Auth).await.unwrap_err();
    assert!(
        matches!(refused, Error::NewerSchema { found: 9999, .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_database_that_cannot_be_had_is_named_without_its_password() {
    let good = shared().database(false).await;
    let refused = async |url: &str| {
        let asked = Instant::now();
        let refused = Postgres::open(url, Role::Auth).await.unwrap_err();
        assert!(asked.elapsed() < Duration::from_secs(3), "{refused}");
        let text = format!("{refused} {refused:?}");
        assert!(
            !text.contains(PASSWORD) && !text.contains("wrong"),
            "{text}"
        );
        assert!(matches!(refused, Error::Unavailable(_)), "{text}");
        text
    };
    let text = refused(&good.replace(PASSWORD, "wrong")).await;
    assert!(text.contains("authentication failed"), "{text}");
    let text = refused(&good.replace("test_", "nowhere_")).await;
    assert!(text.contains("does not exist"), "{text}");
    let nobody = format!("postgres://banter:{PASSWORD}@127.0.0.1:{}/x", free_port());
    let text = refused(&nobody).await;
    assert!(text.contains("refused"), "{text}");
    // Somebody listens, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let text = refused(&format!("postgres://banter:{PASSWORD}@127.0.0.1:{port}/x")).await;
    assert!(text.contains("no answer"), "{text}");
    let opened = Postgres::open(&good, Role::Auth).await.unwrap();
    assert!(!format!("{opened:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let server = shared();
    let sql = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    server.execute(sql.to_owned()).await;
    let refused = Postgres::open(&server.url("latin"), Role::Auth).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("LATIN1"), "{refused}");
}

#[tokio::test]
async fn a_server_that_was_away_is_used_again() {
    let server = Server::start();
    let database = open(&server.database(true).await).await;
    let accounts = Accounts::new(&database);
    let (ann, _) = account(&database, "ann", 0).await;
    // So that the pool has several connections to lose.
    let many = async || {
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let accounts = accounts.clone();
            tasks.spawn(async move { accounts.by_id(ann).await });
        }
        tasks.join_all().await
    };
    many().await;
    for _ in 0..2 {
        server.down();
        let asked = Instant::now();
        let away = accounts.by_id(ann).await.unwrap_err();
        assert!(matches!(away, Error::Unavailable(_)), "{away:?}");
        assert!(asked.elapsed() < Duration::from_secs(3));
        server.up().unwrap();
        for found in many().await {
            assert_eq!(found.unwrap().unwrap().id, ann);
        }
    }
}

/// Numbers are drawn before they are committed: who follows them must still see every one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_revocations_passes_none_over() {
    const EACH: usize = 25;
    // Each commit takes its time, and none the same.
    const SLOW: &str = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                        $$ BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END $$; \
                        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON revocations \
                        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()";
    let url = shared().database(false).await;
    execute(&url, SLOW).await;
    let revocations = Revocations::new(&open(&url).await);
    let mut processes = Vec::new();
    for name in ["ann", "bob", "cid", "dan"] {
        let database = open(&url).await;
        let (_, ids) = account(&database, name, EACH).await;
        processes.push((Sessions::new(&database), ids));
    }
    let mut tasks = JoinSet::new();
    for (sessions, ids) in processes {
        tasks.spawn(async move {
            for id in ids {
                let ended = sessions.end(id, 1, Timestamp::from_ms(1), &LIFETIMES);
                assert!(ended.await.unwrap());
            }
        });
    }
    let (mut last, mut seen) = (0, 0);
    loop {
        // Asked before it is read: what was committed by then is all there is.
        let over = tasks.is_empty();
        for revocation in revocations.after(last, 1_000).await.unwrap() {
            (last, seen) = (revocation.id, seen + 1);
        }
        if over {
            break;
        }
        while tasks.try_join_next().transpose().unwrap().is_some() {}
    }
    assert_eq!(seen, 4 * EACH);
}

/// Ends by a stolen token and by the disabling of the account want the same rows and locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_disabled_while_its_sessions_end_by_themselves() {
    let url = shared().database(false).await;
    let (database, other) = (open(&url).await, open(&url).await);
    for round in 0..20 {
        let name = Username::parse(&format!("user-{round}")).unwrap();
        let (user, ids) = account(&database, name.as_str(), 6).await;
        let mut tasks = JoinSet::new();
        for id in ids.clone() {
            let sessions = Sessions::new(&other);
            tasks.spawn(async move {
                let now = Timestamp::from_ms(1);
                sessions.refresh(id, 1, now, &LIFETIMES).await.unwrap();
                let reused = sessions.refresh(id, 1, now, &LIFETIMES).await.unwrap();
                assert!(matches!(reused, Refreshed::Reused | Refreshed::Over));
            });
        }
        let sessions = Sessions::new(&other);
        tasks.spawn(async move {
            for _ in 0..6 {
                sessions.begin(&session(user)).await.unwrap();
            }
        });
        let set = Accounts::new(&database);
        let disabled = set.set_disabled(&name, true, Timestamp::from_ms(2)).await;
        assert!(disabled.unwrap().unwrap().disabled);
        tasks.join_all().await;
        let changes = Revocations::new(&database).after(0, 10_000).await.unwrap();
        for id in ids {
            let ended = Change::SessionEnded(id);
            let told = changes.iter().filter(|r| r.change == ended).count();
            assert_eq!(told, 1);
        }
    }
    let mut ended = Revocations::new(&database).after(0, 10_000).await.unwrap();
    ended.retain(|revocation| matches!(revocation.change, Change::Disabled(_)));
    assert_eq!(ended.len(), 20);
    // None has begun after its account was disabled, and lived on.
    execute(
        &url,
        "DO $$ BEGIN ASSERT (SELECT count(*) FROM sessions) = 0; END $$",
    )
    .await;
}
