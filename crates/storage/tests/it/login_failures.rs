//! Failed logins that all processes count together.

use banter_protocol::time::Timestamp;
use banter_storage::Postgres;
use banter_storage::login_failures::{Failures, LoginFailures, Name};
use banter_storage::postgres::Role;

use crate::servers::postgres::shared;

const ANN: Name = [1; 16];
const BOB: Name = [2; 16];

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

async fn open(url: &str) -> LoginFailures {
    LoginFailures::new(&Postgres::open(url, Role::Auth).await.unwrap())
}

#[tokio::test]
async fn what_is_changed_is_kept_and_what_is_nothing_is_not() {
    let failures = open(&shared().database(false).await).await;
    assert_eq!(failures.of(&ANN).await.unwrap(), Failures::default());
    let kept = Failures {
        recent: vec![1, 2],
        level: 3,
        until_ms: 4,
    };
    let before = failures.change(&ANN, at(9), |now| std::mem::replace(now, kept.clone()));
    assert_eq!(before.await.unwrap(), Failures::default());
    assert_eq!(failures.of(&ANN).await.unwrap(), kept);
    assert_eq!(failures.of(&BOB).await.unwrap(), Failures::default());
    let before = failures.change(&ANN, at(9), std::mem::take);
    assert_eq!(before.await.unwrap(), kept);
    assert_eq!(failures.of(&ANN).await.unwrap(), Failures::default());
}

#[tokio::test]
async fn changes_from_several_processes_come_one_after_the_other() {
    let url = shared().database(false).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let failures = open(&url).await;
        tasks.spawn(async move {
            for n in 0..25 {
                let counted = failures.change(&ANN, at(n), |failures| failures.level += 1);
                counted.await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(open(&url).await.of(&ANN).await.unwrap().level, 100);
}

#[tokio::test]
async fn what_holds_nobody_up_is_forgotten() {
    let failures = open(&shared().database(false).await).await;
    for (name, until_ms) in [(ANN, 20), (BOB, 0)] {
        let change = |failures: &mut Failures| {
            *failures = Failures {
                recent: vec![10],
                level: 0,
                until_ms,
            };
        };
        failures.change(&name, at(10), change).await.unwrap();
    }
    let recent = async |name| failures.of(&name).await.unwrap().recent.len();
    failures.forget(at(10)).await.unwrap();
    assert_eq!((recent(ANN).await, recent(BOB).await), (1, 1));
    failures.forget(at(11)).await.unwrap();
    assert_eq!((recent(ANN).await, recent(BOB).await), (1, 0));
    failures.forget(at(21)).await.unwrap();
    assert_eq!(recent(ANN).await, 0);
}
