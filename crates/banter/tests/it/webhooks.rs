//! Incoming webhooks: who may make them, what they post, and what ends them.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::hook::Hook;
use crate::support::http::{Answer, Request};
use crate::support::message::{fresh_id, words, words_of};
use crate::support::person::Person;

mod alertmanager;
mod command;

for_every_kind! {
    what_is_posted_is_an_ordinary_message,
    a_deleted_webhook_is_gone_at_once,
    only_the_owner_has_a_say_and_a_webhook_never_is_one,
    its_account_is_of_no_other_use,
    whoever_does_not_know_the_secret_learns_nothing,
}

/// What members are listed, and as what.
fn members(person: &Person, channel: &str) -> Vec<(String, String)> {
    let path = format!("/v1/channels/{channel}/members");
    let list = person.call(Request::get(path)).ok(200);
    let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| (text(item, "username"), text(item, "role")))
        .collect()
}

fn what_is_posted_is_an_ordinary_message(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("alerts");
    bob.join(&channel);
    let mut his = bob.connect();
    let answer = Hook::try_make(&ann, &channel, "Watch.Dog");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.ok(201)["name"], "watch.dog");
    let joined = his.expect("joined");
    assert_eq!(
        (&joined["user"], &joined["seq"]),
        (&"watch.dog".into(), &3.into())
    );

    let hook = Hook::make(&ann, &channel, "build");
    his.expect("joined");
    hook.say(&words("one"));
    let heard = his.expect("message");
    assert_eq!(
        (&heard["author"], &heard["seq"]),
        (&"build".into(), &5.into())
    );
    assert_eq!(heard["body"], words("one").as_str());
    // Retried under its key, it is the same message.
    let key = fresh_id();
    for body in ["two", "three"] {
        let request = hook.request(&json!({"text": words(body)}));
        let answer = chat.call(&request.header("Idempotency-Key", &key));
        assert_eq!((answer.status, &*answer.text()), (201, "ok"));
    }
    let request = hook.request(&json!({"text": words("four")}));
    chat.call(&request.header("Idempotency-Key", "a b"))
        .refused(422, "id_invalid");
    let heard = his.expect("message");
    assert_eq!(heard["id"], key.as_str());
    his.is_alive();
    let history = bob.history(&channel);
    assert_eq!(history[5], heard, "the very frame");
    assert_eq!(history.len(), 6);
    let expected = [
        ("ann", "owner"),
        ("bob", "member"),
        ("watch.dog", "member"),
        ("build", "member"),
    ];
    let expected = expected.map(|(name, role)| (name.to_owned(), role.to_owned()));
    assert_eq!(members(&bob, &channel), expected);

    let listed = Hook::list(&ann, &channel);
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1]["id"], hook.id.as_str());
    assert_eq!(listed[1]["name"], "build");
    assert!(!json!(listed).to_string().contains(hook.secret()));
    let first = format!("/v1/channels/{channel}/webhooks?limit=1");
    let page = ann.call(Request::get(&first)).ok(200);
    assert_eq!(page["items"], json!([listed[0]]));
    let next = format!("{first}&cursor={}", page["next"].as_str().unwrap());
    let page = ann.call(Request::get(next)).ok(200);
    assert_eq!(
        (&page["items"], &page["next"]),
        (&json!([listed[1]]), &Value::Null)
    );
    assert!(chat.metric("banter_gateway_webhook_posts_total") >= 4.0);
}

fn a_deleted_webhook_is_gone_at_once(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create_private("alerts");
    let (old, other) = (
        Hook::make(&ann, &channel, "build"),
        Hook::make(&ann, &channel, "other"),
    );
    old.say(&words("before"));
    old.delete(&ann, &channel).ok(204);
    old.post(&json!({"text": words("after")}))
        .refused(404, "webhook_not_found");
    old.delete(&ann, &channel).refused(404, "webhook_not_found");
    other.say(&words("the other"));
    let kinds = |history: &[Value]| -> Vec<(Value, Value)> {
        let who = |entry: &Value| [&entry["user"], &entry["author"]].map(Clone::clone);
        let one = |[user, author]: [Value; 2]| if user.is_null() { author } else { user };
        let kind = |entry: &Value| (entry["type"].clone(), one(who(entry)));
        history.iter().map(kind).collect()
    };
    let history = ann.history(&channel);
    let expected = json!([
        ["joined", "ann"],
        ["joined", "build"],
        ["joined", "other"],
        ["message", "build"],
        ["left", "build"],
        ["message", "other"],
    ]);
    assert_eq!(json!(kinds(&history)), expected);
    assert_eq!(history[4]["by"], "ann");
    assert_eq!(Hook::list(&ann, &channel).len(), 1);

    // The name is free again, for this channel alone.
    let elsewhere = ann.create("elsewhere");
    Hook::try_make(&ann, &elsewhere, "build").refused(409, "username_taken");
    let new = Hook::make(&ann, &channel, "build");
    assert_ne!((&new.id, new.secret()), (&old.id, old.secret()));
    new.say(&words("again"));
    old.post(&json!({"text": words("old")}))
        .refused(404, "webhook_not_found");
    assert_eq!(ann.history(&channel)[7]["author"], "build");
    // Whoever the owner removes is out, and may be let in again.
    ann.remove(&channel, "build").ok(204);
    new.post(&json!({"text": words("removed")}))
        .refused(403, "not_a_member");
    ann.add(&channel, "build").ok(204);
    new.say(&words("back"));
}

fn only_the_owner_has_a_say_and_a_webhook_never_is_one(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    let channel = ann.create("alerts");
    let hook = Hook::make(&ann, &channel, "build");
    bob.join(&channel);
    for stranger in [&bob, &cleo] {
        Hook::try_make(stranger, &channel, "mine").refused(403, "not_owner");
        hook.delete(stranger, &channel).refused(403, "not_owner");
        let path = format!("/v1/channels/{channel}/webhooks");
        stranger.call(Request::get(path)).refused(403, "not_owner");
    }
    let private = ann.create_private("alerts");
    Hook::try_make(&bob, &private, "mine").refused(404, "channel_not_found");
    let another = Hook::make(&ann, &private, "inner");
    another
        .delete(&ann, &channel)
        .refused(404, "webhook_not_found");

    // The webhook has been there for longer, and still it is bob's.
    ann.leave(&channel);
    assert_eq!(owner(&bob, &channel), "bob");
    hook.say(&words("to bob"));
    bob.leave(&channel);
    assert_eq!(owner(&bob, &channel), Value::Null);
    hook.say(&words("to whoever comes"));
    cleo.join(&channel);
    assert_eq!(owner(&cleo, &channel), "cleo");
    assert_eq!(Hook::list(&cleo, &channel).len(), 1);
    hook.delete(&cleo, &channel).ok(204);
    // Nobody can come back to a private channel that everybody has left.
    another.say(&words("inside"));
    ann.leave(&private);
    another
        .post(&json!({"text": words("to nobody")}))
        .refused(404, "webhook_not_found");
}

fn owner(person: &Person, channel: &str) -> Value {
    let path = format!("/v1/channels/{channel}");
    person.call(Request::get(path)).ok(200)["owner"].take()
}

fn its_account_is_of_no_other_use(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("alerts");
    Hook::try_make(&ann, &channel, "bob").refused(409, "username_taken");
    Hook::try_make(&ann, &channel, "a b").refused(422, "username_invalid");
    let hook = Hook::make(&ann, &channel, "build");
    Hook::try_make(&ann, &channel, "build").refused(409, "username_taken");
    let enter = |how: &str| chat.site().enter(how, "build");
    enter("login").refused(401, "login_failed");
    enter("register").refused(409, "username_taken");
    let elsewhere = bob.create("elsewhere");
    bob.add(&elsewhere, "build").refused(404, "user_not_found");

    let disable = |how: &str| chat.command(&["user", how, "build"]).succeeded();
    disable("disable");
    hook.post(&json!({"text": words("disabled")}))
        .refused(404, "webhook_not_found");
    disable("enable");
    hook.say(&words("enabled"));
}

fn whoever_does_not_know_the_secret_learns_nothing(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("alerts");
    let (hook, other) = (
        Hook::make(&ann, &channel, "build"),
        Hook::make(&ann, &channel, "other"),
    );
    assert!(hook.secret().len() >= 43, "{}", hook.secret());
    let (id, right) = (&hook.id, hook.secret());
    let upper = right.to_uppercase();
    let expected = whole(&chat, &format!("{id}/x"), "{}");
    for path in [
        format!("{id}/{}", other.secret()),
        format!("{id}/{}", &right[1..]),
        format!("{id}/{right}x"),
        format!("{id}/{upper}"),
        format!("{}/{right}", other.id),
        format!("{}/{right}", fresh_id()),
        format!("{channel}/{right}"),
        format!("x/{right}"),
        format!("{id}/%ff"),
    ] {
        // Whatever it says: nobody looks at it.
        for body in ["{}", "{", &"x".repeat(1_000)] {
            assert_eq!(whole(&chat, &path, body), expected, "{path}");
        }
    }
    let path = format!("/v1/webhooks/{id}/{right}");
    chat.call(&Request::get(&path))
        .refused(405, "method_not_allowed");
    chat.call(&Request::post(format!("{path}/x")).json(&json!({"text": "x"})))
        .refused(404, "route_not_found");
    assert_eq!(ann.history(&channel).len(), 3);
}

/// Everything that an answer tells.
fn whole(chat: &Fixture, path: &str, body: &str) -> (u16, String) {
    let request = Request::post(format!("/v1/webhooks/{path}"));
    let answer = chat.call(&request.text("application/json", body));
    answer.refused(404, "webhook_not_found");
    (answer.status, answer.text())
}

/// Its account's join is in the queue, and no worker is there to store it.
#[test]
fn one_that_could_not_be_made_can_be_made_later() {
    let mut chat = Fixture::setup(Kind::Cluster)
        .expect_log("answered with 503")
        .start();
    let ann = chat.register("ann");
    let channel = ann.create("alerts");
    chat.end("worker", Signal::TERM);
    Hook::try_make(&ann, &channel, "build").refused(503, "unavailable");
    assert_eq!(Hook::list(&ann, &channel).len(), 0);
    chat.spawn("worker");
    chat.ready("worker");
    let hook = Hook::make(&ann, &channel, "build");
    hook.say(&words("at last"));
    let history = ann.history(&channel);
    let kinds: Vec<&Value> = history.iter().map(|entry| &entry["type"]).collect();
    assert_eq!(kinds, ["joined", "joined", "message"], "it joined once");
}

#[test]
fn what_is_no_message_is_refused() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    let channel = ann.create("alerts");
    let hook = Hook::make(&ann, &channel, "build");
    let send = |media_type: &str, body: &str| -> Answer {
        chat.call(&Request::post(hook.path()).text(media_type, body))
    };
    let json = "application/json";
    send(json, "{").refused(400, "body_malformed");
    send("text/plain", "{}").refused(415, "media_type");
    send("application/x-www-form-urlencoded", "payload=%7B%7D").refused(415, "media_type");
    send(json, "[]").refused(422, "not_an_object");
    let missing = send(json, "{}").refused(422, "field_missing");
    assert_eq!(missing["errors"][0]["field"], "text");
    send(json, r#"{"attachments":[]}"#).refused(422, "field_missing");
    send(json, r#"{"text":1}"#).refused(422, "field_type");
    send(json, r#"{"text":"a","attachments":{}}"#).refused(422, "field_type");
    send(json, r#"{"text":" \n"}"#).refused(422, "body_invalid");
    let long = json!({"text": words_of(16_385)});
    send(json, &long.to_string()).refused(422, "body_invalid");
    let huge = json!({"text": words_of(70_000)});
    send(json, &huge.to_string()).refused(413, "too_large");

    let longest = words_of(16_384);
    hook.say(&longest);
    let parts = json!({"attachments": [
        {"title": words("down"), "text": words("since noon"), "color": "danger", "fields": null},
        {"fallback": words("only this"), "text": ""},
    ]});
    hook.post(&parts);
    let history = ann.history(&channel);
    assert_eq!(history[2]["body"], longest.as_str());
    let expected = [
        words("down"),
        words("since noon"),
        String::new(),
        words("only this"),
    ];
    assert_eq!(history[3]["body"], expected.join("\n").as_str());
    assert_eq!(history.len(), 4);
}

#[test]
fn a_webhook_and_an_address_have_a_pace_and_a_channel_a_number() {
    let chat = Fixture::setup(Kind::Embedded)
        .set("limits.webhook_messages_per_second", "1")
        .set("limits.address_logins_per_minute", "1")
        .start();
    let ann = chat.register("ann");
    let channel = ann.create("alerts");
    let hook = Hook::make(&ann, &channel, "build");
    let text = json!({"text": words("again")});
    hook.say(&words("once"));
    hook.say(&words("twice"));
    let refused = hook.post(&text);
    refused.refused(429, "slow_down");
    assert!(refused.header("retry-after").is_some());
    // Another one has a pace of its own, and this one may go on later.
    Hook::make(&ann, &channel, "other").say(&words("meanwhile"));
    let since = Instant::now();
    while hook.post(&text).status == 429 {
        assert!(since.elapsed() < Duration::from_secs(20), "for ever");
        std::thread::sleep(Duration::from_millis(50));
    }

    // Whoever guesses is heard so often and no more; others are not held up.
    let far = |address: &str| {
        let request = Request::post(format!("/v1/webhooks/{}/x", hook.id)).json(&text);
        chat.call(&request.header("X-Forwarded-For", address))
            .status
    };
    let mut heard = 0_u32;
    while far("203.0.113.7") == 404 {
        heard += 1;
        assert!(heard < 5_000, "as often as one likes");
    }
    assert!(heard >= 200, "{heard}");
    assert_eq!(far("203.0.113.8"), 404);

    // Each makes an account: so many an address as it may register, and so many a channel.
    let make = |n: usize, address: Option<&str>| {
        let form = json!({"name": format!("hook-{n}")});
        let mut request = Request::post(format!("/v1/channels/{channel}/webhooks")).json(&form);
        if let Some(address) = address {
            request = request.header("X-Forwarded-For", address);
        }
        ann.call(request)
    };
    for n in 0..30 {
        make(n, Some("203.0.113.9")).ok(201);
    }
    make(30, Some("203.0.113.9")).refused(429, "too_many_requests");
    for n in 30..48 {
        make(n, None).ok(201);
    }
    make(48, None).refused(409, "too_many_webhooks");
    assert_eq!(Hook::list(&ann, &channel).len(), 50);
    refusals_are_counted(&chat, heard);
}

/// All that was refused is counted, with its reason.
#[track_caller]
fn refusals_are_counted(chat: &Fixture, guesses: u32) {
    let counted = |name: &str, label: &str, value: &str| {
        chat.series(&format!(
            "banter_gateway_{name}_total{{{label}=\"{value}\"}}"
        ))
    };
    for limit in [
        "address_new_webhooks",
        "address_webhooks",
        "webhook_messages",
    ] {
        assert!(counted("rate_limited", "scope", limit) >= 1.0, "{limit}");
    }
    let counts = [
        ("webhook_not_found", guesses),
        ("too_many_requests", 1),
        ("slow_down", 1),
    ];
    for (code, times) in counts {
        let counted = counted("webhook_posts", "outcome", code);
        assert!(counted >= f64::from(times), "{counted} {code}");
    }
}
