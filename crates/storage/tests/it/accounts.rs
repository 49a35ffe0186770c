//! Accounts, sessions, keys and revocations.

use std::time::Duration;

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use uuid::Uuid;

use banter_storage::accounts::{Account, Accounts, NewAccount};
use banter_storage::keys::{Keys, NewKey, State};
use banter_storage::revocations::{Change, Revocation, Revocations};
use banter_storage::sessions::{Lifetimes, NewSession, Refreshed, Sessions};

use crate::fixture::{Fixture, on_every_database};

on_every_database! {
    a_name_belongs_to_one_account,
    accounts_are_listed_by_name_in_pages,
    a_hash_is_replaced_only_if_it_is_still_the_same,
    a_refresh_token_is_replaced_and_repeats_its_successor_for_a_while,
    an_older_refresh_token_ends_the_session,
    concurrent_refreshes_get_the_same_successor,
    a_session_ends_by_wish_by_idleness_and_by_age,
    a_disabled_account_has_no_sessions_and_begins_none,
    revocations_are_numbered_for_ever,
    keys_are_published_used_and_retired,
    an_abandoned_write_leaves_a_usable_database,
}

const LIFETIMES: Lifetimes = Lifetimes {
    idle: Duration::from_secs(100),
    absolute: Duration::from_secs(1_000),
    grace: Duration::from_secs(10),
};

struct Store {
    accounts: Accounts,
    sessions: Sessions,
    keys: Keys,
    revocations: Revocations,
    _fixture: Fixture,
}

fn store(fixture: Fixture) -> Store {
    let database = &fixture.database;
    Store {
        accounts: Accounts::new(database),
        sessions: Sessions::new(database),
        keys: Keys::new(database),
        revocations: Revocations::new(database),
        _fixture: fixture,
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_ms(seconds * 1000)
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn new_account(username: &str) -> NewAccount {
    NewAccount {
        id: UserId::from_uuid(Uuid::now_v7()),
        username: name(username),
        password: format!("hash of {username}"),
        created_at: seconds(1),
    }
}

fn new_session(user: UserId) -> NewSession {
    NewSession {
        id: SessionId::from_uuid(Uuid::now_v7()),
        user,
        seed: [7; 32],
        created_at: seconds(0),
    }
}

impl Store {
    async fn account(&self, username: &str) -> (Account, SessionId) {
        let account = new_account(username);
        let session = new_session(account.id);
        assert!(
            self.accounts
                .create(&account, Some(&session))
                .await
                .unwrap()
        );
        let stored = self.accounts.by_id(account.id).await.unwrap().unwrap();
        (stored, session.id)
    }

    async fn refresh(&self, id: SessionId, generation: u32, at: i64) -> Refreshed {
        self.sessions
            .refresh(id, generation, seconds(at), &LIFETIMES)
            .await
            .unwrap()
    }

    async fn changes(&self) -> Vec<Change> {
        let all: Vec<Revocation> = self.revocations.after(0, 100).await.unwrap();
        assert!(all.is_sorted_by_key(|revocation| revocation.id));
        all.into_iter()
            .map(|revocation| revocation.change)
            .collect()
    }
}

fn successor(account: &Account, generation: u32, repeated: bool) -> Refreshed {
    Refreshed::Successor {
        generation,
        account: account.clone(),
        repeated,
    }
}

async fn a_name_belongs_to_one_account(fixture: Fixture) {
    let store = store(fixture);
    let (ann, _) = store.account("ann").await;
    assert!(!ann.disabled);
    let second = new_account("ANN");
    let session = new_session(second.id);
    assert!(
        !store
            .accounts
            .create(&second, Some(&session))
            .await
            .unwrap()
    );
    assert_eq!(store.sessions.seed(session.id).await.unwrap(), None);
    let found = store.accounts.credentials(&ann.username).await.unwrap();
    assert_eq!(found.unwrap().password, "hash of ann");
    assert_eq!(
        store.accounts.by_username(&name("bob")).await.unwrap(),
        None
    );
}

async fn accounts_are_listed_by_name_in_pages(fixture: Fixture) {
    let store = store(fixture);
    for username in ["cid", "ann", "bob"] {
        store.account(username).await;
    }
    let page = store.accounts.page(None, 2).await.unwrap();
    assert_eq!(page.len(), 2);
    assert_eq!(page[1].username, name("bob"));
    let rest = store
        .accounts
        .page(Some(&page[1].username), 2)
        .await
        .unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].username, name("cid"));
}

async fn a_hash_is_replaced_only_if_it_is_still_the_same(fixture: Fixture) {
    let store = store(fixture);
    let (ann, _) = store.account("ann").await;
    let hash = async || {
        let found = store.accounts.credentials(&ann.username).await.unwrap();
        found.unwrap().password
    };
    store.accounts.rehash(ann.id, "other", "new").await.unwrap();
    assert_eq!(hash().await, "hash of ann");
    store
        .accounts
        .rehash(ann.id, "hash of ann", "new")
        .await
        .unwrap();
    assert_eq!(hash().await, "new");
}

async fn a_refresh_token_is_replaced_and_repeats_its_successor_for_a_while(fixture: Fixture) {
    let store = store(fixture);
    let (ann, id) = store.account("ann").await;
    assert_eq!(store.refresh(id, 1, 20).await, successor(&ann, 2, false));
    assert_eq!(store.refresh(id, 1, 29).await, successor(&ann, 2, true));
    assert_eq!(store.refresh(id, 2, 31).await, successor(&ann, 3, false));
    assert_eq!(store.refresh(id, 2, 40).await, successor(&ann, 3, true));
    assert_eq!(store.refresh(id, 3, 41).await, successor(&ann, 4, false));
    assert_eq!(store.changes().await, []);
}

async fn an_older_refresh_token_ends_the_session(fixture: Fixture) {
    let store = store(fixture);
    let (_, late) = store.account("late").await;
    store.refresh(late, 1, 20).await;
    assert_eq!(store.refresh(late, 1, 30).await, Refreshed::Reused);
    assert_eq!(store.refresh(late, 2, 30).await, Refreshed::Over);

    let (_, older) = store.account("older").await;
    store.refresh(older, 1, 20).await;
    store.refresh(older, 2, 20).await;
    assert_eq!(store.refresh(older, 1, 21).await, Refreshed::Reused);
    assert_eq!(store.refresh(older, 3, 21).await, Refreshed::Over);
    assert_eq!(
        store.changes().await,
        [Change::SessionEnded(late), Change::SessionEnded(older)]
    );
}

async fn concurrent_refreshes_get_the_same_successor(fixture: Fixture) {
    let store = store(fixture);
    let (ann, id) = store.account("ann").await;
    for generation in 1..=10_u32 {
        let at = i64::from(generation);
        let answers = tokio::join!(
            store.refresh(id, generation, at),
            store.refresh(id, generation, at),
            store.refresh(id, generation, at),
        );
        let fresh = [&answers.0, &answers.1, &answers.2]
            .into_iter()
            .filter(|answer| **answer == successor(&ann, generation + 1, false))
            .count();
        assert_eq!(fresh, 1, "{answers:?}");
        let repeated = successor(&ann, generation + 1, true);
        assert!([answers.0, answers.1, answers.2].contains(&repeated));
    }
}

async fn a_session_ends_by_wish_by_idleness_and_by_age(fixture: Fixture) {
    let store = store(fixture);
    let (_, id) = store.account("ann").await;
    let end = async |id, generation, at| {
        let ended = store.sessions.end(id, generation, seconds(at), &LIFETIMES);
        ended.await.unwrap()
    };
    assert!(end(id, 1, 1).await);
    assert!(!end(id, 1, 1).await);
    assert_eq!(store.changes().await, [Change::SessionEnded(id)]);

    let (_, idle) = store.account("idle").await;
    assert_eq!(store.refresh(idle, 1, 100).await, Refreshed::Over);

    let (old_account, old) = store.account("old").await;
    for generation in 1..=10_u32 {
        let answer = store
            .refresh(old, generation, i64::from(generation) * 99)
            .await;
        assert_eq!(answer, successor(&old_account, generation + 1, false));
    }
    assert_eq!(store.refresh(old, 11, 1_000).await, Refreshed::Over);

    store
        .sessions
        .forget_over(seconds(101), &LIFETIMES)
        .await
        .unwrap();
    assert_eq!(store.sessions.seed(idle).await.unwrap(), None);
    assert!(store.sessions.seed(old).await.unwrap().is_some());
}

async fn a_disabled_account_has_no_sessions_and_begins_none(fixture: Fixture) {
    let store = store(fixture);
    let (ann, id) = store.account("ann").await;
    let set = async |disabled| {
        let set = store
            .accounts
            .set_disabled(&ann.username, disabled, seconds(5));
        set.await.unwrap().unwrap()
    };
    assert!(set(true).await.disabled);
    assert!(set(true).await.disabled);
    assert_eq!(store.refresh(id, 1, 6).await, Refreshed::Over);
    let next = new_session(ann.id);
    assert!(!store.sessions.begin(&next).await.unwrap());
    assert!(!set(false).await.disabled);
    assert!(store.sessions.begin(&next).await.unwrap());
    assert_eq!(
        store.changes().await,
        [
            Change::Disabled(ann.id),
            Change::SessionEnded(id),
            Change::Enabled(ann.id)
        ]
    );
    let bob = name("bob");
    let unknown = store.accounts.set_disabled(&bob, true, seconds(5));
    assert_eq!(unknown.await.unwrap(), None);
}

async fn revocations_are_numbered_for_ever(fixture: Fixture) {
    let store = store(fixture);
    for username in ["ann", "bob"] {
        let (_, id) = store.account(username).await;
        let ended = store.sessions.end(id, 1, seconds(5), &LIFETIMES).await;
        assert!(ended.unwrap());
        store.revocations.forget(seconds(6)).await.unwrap();
    }
    let (_, id) = store.account("cid").await;
    store
        .sessions
        .end(id, 1, seconds(7), &LIFETIMES)
        .await
        .unwrap();
    let all = store.revocations.after(2, 10).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].id, all[0].at), (3, seconds(7)));
}

async fn keys_are_published_used_and_retired(fixture: Fixture) {
    let store = store(fixture);
    let key = |kid: &str| NewKey {
        kid: kid.to_owned(),
        public: [1; 32],
        sealed: vec![2; 72],
    };
    let states = async || {
        let all = store.keys.all().await.unwrap();
        let mut states: Vec<_> = all.into_iter().map(|key| (key.kid, key.state)).collect();
        states.sort_by(|left, right| left.0.cmp(&right.0));
        states
    };
    let state = |kid: &str, state| (kid.to_owned(), state);
    let keys = &store.keys;
    keys.found(&key("a"), &key("b"), seconds(0)).await.unwrap();
    keys.found(&key("x"), &key("y"), seconds(0)).await.unwrap();
    assert_eq!(
        states().await,
        [state("a", State::Active), state("b", State::Next)]
    );
    assert!(
        !keys
            .rotate(&key("c"), seconds(9), Some(seconds(0)))
            .await
            .unwrap()
    );
    assert!(
        keys.rotate(&key("c"), seconds(9), Some(seconds(1)))
            .await
            .unwrap()
    );
    assert!(keys.rotate(&key("d"), seconds(20), None).await.unwrap());
    assert_eq!(
        states().await,
        [
            state("a", State::Retired),
            state("b", State::Retired),
            state("c", State::Active),
            state("d", State::Next)
        ]
    );
    assert!(keys.forget_retired(seconds(20)).await.unwrap());
    assert!(!keys.forget_retired(seconds(20)).await.unwrap());
    assert_eq!(states().await.len(), 3);
    keys.replace(&key("e"), &key("f"), seconds(30))
        .await
        .unwrap();
    assert_eq!(
        states().await,
        [state("e", State::Active), state("f", State::Next)]
    );
    assert_eq!(
        store.changes().await,
        [
            Change::KeysRotated,
            Change::KeysRotated,
            Change::KeysReplaced
        ]
    );
}

async fn an_abandoned_write_leaves_a_usable_database(fixture: Fixture) {
    let store = store(fixture);
    let (ann, id) = store.account("ann").await;
    for polls in 0..40 {
        let mut refresh = Box::pin(store.refresh(id, 1, 1));
        for _ in 0..polls {
            let turn = tokio::time::timeout(Duration::from_micros(50), &mut refresh).await;
            if turn.is_ok() {
                break;
            }
        }
        drop(refresh);
        assert!(matches!(
            store.refresh(id, 1, 1).await,
            Refreshed::Successor { generation: 2, .. }
        ));
    }
    assert_eq!(store.accounts.by_id(ann.id).await.unwrap(), Some(ann));
}
