//! Incoming webhooks: made, found by their id, deleted, made again.

use banter_protocol::id::{UserId, WebhookId};
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use banter_storage::accounts::{Accounts, NewAccount};
use banter_storage::webhooks::{Creation, NewWebhook, Webhook, Webhooks};

use crate::fixture::{Fixture, channel, on_every_database};

on_every_database! {
    a_name_belongs_to_one_account_of_any_kind,
    a_deleted_webhook_gives_its_name_back_to_its_channel_alone,
    a_channel_has_so_many_and_lists_them_in_pages,
    a_webhook_posts_as_long_as_its_account_and_its_channel_are_of_use,
}

const MOST: u32 = 3;

/// The webhook whose id, account and secret consist of `n`s.
fn new(n: u8, of: u8, name: &str) -> NewWebhook {
    NewWebhook {
        id: WebhookId::from_bytes([n; 16]),
        channel: channel(of),
        account: NewAccount {
            id: UserId::from_bytes([n; 16]),
            username: Username::parse(name).unwrap(),
            password: String::new(),
            created_at: Timestamp::from_ms(i64::from(n)),
        },
        secret: [n; 32],
    }
}

fn id(n: u8) -> WebhookId {
    WebhookId::from_bytes([n; 16])
}

fn account(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

/// Two public channels of one owner.
async fn webhooks(fixture: &Fixture) -> Webhooks {
    let ann = fixture.account(1, "ann").await;
    fixture.make(1, "one", false, ann).await;
    fixture.make(2, "two", false, ann).await;
    Webhooks::new(&fixture.database)
}

async fn a_name_belongs_to_one_account_of_any_kind(fixture: Fixture) {
    let webhooks = webhooks(&fixture).await;
    let create = async |new: NewWebhook| webhooks.create(&new, MOST).await.unwrap();
    assert_eq!(create(new(10, 1, "ann")).await, Creation::NameTaken);
    let made = create(new(11, 1, "build")).await;
    assert_eq!(made, Creation::Created(account(11)));
    for of in [1, 2] {
        assert_eq!(create(new(12, of, "build")).await, Creation::NameTaken);
    }
    let accounts = Accounts::new(&fixture.database);
    let rival = new(13, 1, "build").account;
    assert!(!accounts.create(&rival, None).await.unwrap());
    assert_eq!(
        webhooks.channel_of(account(11)).await.unwrap(),
        Some(channel(1))
    );
    assert_eq!(webhooks.channel_of(account(1)).await.unwrap(), None);
}

async fn a_deleted_webhook_gives_its_name_back_to_its_channel_alone(fixture: Fixture) {
    let webhooks = webhooks(&fixture).await;
    let create = async |new: NewWebhook| webhooks.create(&new, MOST).await.unwrap();
    let made = create(new(10, 1, "build")).await;
    assert_eq!(made, Creation::Created(account(10)));
    assert!(webhooks.delete(id(10)).await.unwrap());
    assert!(!webhooks.delete(id(10)).await.unwrap());
    assert_eq!(webhooks.permit(id(10)).await.unwrap(), None);
    assert_eq!(webhooks.author(channel(1), id(10)).await.unwrap(), None);
    assert_eq!(webhooks.list(channel(1), None, 10).await.unwrap(), []);
    let accounts = Accounts::new(&fixture.database);
    let disabled = async || accounts.by_id(account(10)).await.unwrap().unwrap().disabled;
    assert!(disabled().await);
    assert_eq!(
        webhooks.channel_of(account(10)).await.unwrap(),
        Some(channel(1))
    );

    assert_eq!(create(new(11, 2, "build")).await, Creation::NameTaken);
    let again = create(new(12, 1, "build")).await;
    assert_eq!(again, Creation::Created(account(10)), "the same account");
    assert!(!disabled().await);
    assert_eq!(webhooks.permit(id(10)).await.unwrap(), None);
    let permit = webhooks.permit(id(12)).await.unwrap().unwrap();
    assert_eq!((permit.author.id, permit.secret), (account(10), [12; 32]));
}

async fn a_channel_has_so_many_and_lists_them_in_pages(fixture: Fixture) {
    let webhooks = webhooks(&fixture).await;
    let create = async |new: NewWebhook| webhooks.create(&new, MOST).await.unwrap();
    for (n, name) in [(12, "c-hook"), (10, "b-hook"), (11, "a-hook")] {
        assert_eq!(create(new(n, 1, name)).await, Creation::Created(account(n)));
    }
    assert_eq!(create(new(13, 1, "d-hook")).await, Creation::TooMany);
    let other = create(new(14, 2, "d-hook")).await;
    assert_eq!(other, Creation::Created(account(14)));

    let list = async |after: Option<u8>, limit| {
        let page = webhooks.list(channel(1), after.map(id), limit).await;
        let row = |hook: &Webhook| (hook.id.as_bytes()[0], hook.author.username.to_string());
        page.unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let all = [(10, "b-hook"), (11, "a-hook"), (12, "c-hook")];
    let all = all.map(|(n, name)| (n, name.to_owned()));
    assert_eq!(list(None, 10).await, all);
    assert_eq!(list(None, 2).await, all[..2]);
    assert_eq!(list(Some(11), 2).await, all[2..]);
    let first = &webhooks.list(channel(1), None, 1).await.unwrap()[0];
    assert_eq!(first.created_at.as_ms(), 10);

    let author = webhooks.author(channel(1), id(11)).await.unwrap().unwrap();
    assert_eq!(author.id, account(11));
    assert_eq!(webhooks.author(channel(2), id(11)).await.unwrap(), None);
    assert!(webhooks.delete(id(11)).await.unwrap());
    let fourth = create(new(13, 1, "e-hook")).await;
    assert_eq!(
        fourth,
        Creation::Created(account(13)),
        "there is room again"
    );
}

async fn a_webhook_posts_as_long_as_its_account_and_its_channel_are_of_use(fixture: Fixture) {
    let webhooks = webhooks(&fixture).await;
    let ann = UserId::from_bytes([1; 16]);
    fixture.make(3, "private", true, ann).await;
    for (n, of, name) in [(10, 1, "open"), (11, 3, "closed")] {
        let made = webhooks.create(&new(n, of, name), MOST).await.unwrap();
        assert_eq!(made, Creation::Created(account(n)));
    }
    let may = async |n| webhooks.permit(id(n)).await.unwrap().is_some();
    assert!(may(10).await && may(11).await);
    assert!(!may(12).await);

    let accounts = Accounts::new(&fixture.database);
    let name = Username::parse("open").unwrap();
    for disabled in [true, false] {
        let done = accounts.set_disabled(&name, disabled, Timestamp::from_ms(5));
        assert!(done.await.unwrap().is_some());
        assert_eq!(may(10).await, !disabled);
    }
    // Everybody has left both channels.
    fixture.execute("UPDATE channels SET owner = NULL").await;
    assert!(may(10).await, "whoever joins next reads it");
    assert!(!may(11).await, "nobody will ever read it");
    assert!(!format!("{:?}", webhooks.permit(id(10)).await).contains("10, 10"));
}
