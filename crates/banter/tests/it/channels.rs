//! Channels and their members: who may make, see, join, leave, add and remove what.

use serde_json::{Value, json};

use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::http::Request;
use crate::support::message::words;
use crate::support::person::Person;

for_every_kind!(
    a_channel_is_made_as_told,
    names_and_topics_have_rules,
    public_names_are_unique_under_case_folding,
    lists_go_page_by_page,
    joining_and_leaving_are_entries_and_idempotent,
    a_private_channel_is_not_there_for_others,
    only_the_owner_adds_to_and_removes_from_a_public_channel,
    who_was_removed_stays_out_until_the_owner_says_so,
    ownership_passes_on,
    a_user_is_in_500_channels_at_most,
);

const NOWHERE: &str = "01931a2e-7c00-7a41-8f3e-2b6d9c4e1a07";

fn create(person: &Person, form: &Value) -> crate::support::http::Answer {
    person.call(Request::post("/v1/channels").json(form))
}

fn kinds(entries: &[Value]) -> Vec<(&str, u64, &str)> {
    entries
        .iter()
        .map(|entry| {
            let who = entry.get("user").or(entry.get("author"));
            (
                entry["type"].as_str().unwrap(),
                entry["seq"].as_u64().unwrap(),
                who.and_then(Value::as_str).unwrap_or_default(),
            )
        })
        .collect()
}

fn a_channel_is_made_as_told(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = create(
        &ann,
        &json!({"name": "Größe ✓", "topic": "x\ny", "later": [1]}),
    )
    .ok(201);
    for (field, value) in [
        ("name", json!("Größe ✓")),
        ("topic", json!("x\ny")),
        ("private", json!(false)),
        ("owner", json!("ann")),
        ("seq", json!(1)),
        ("joined", json!(true)),
    ] {
        assert_eq!(channel[field], value, "{channel}");
    }
    let id = channel["id"].as_str().unwrap();
    let read = ann.call(Request::get(format!("/v1/channels/{id}"))).ok(200);
    assert_eq!(read, channel);
    let bare = create(&ann, &json!({"name": "b", "topic": null, "private": null})).ok(201);
    assert_eq!(
        (&bare["topic"], &bare["private"]),
        (&json!(""), &json!(false))
    );
    assert_eq!(kinds(&ann.history(id)), [("joined", 1, "ann")]);
}

fn names_and_topics_have_rules(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let longest = "é".repeat(80);
    for bad in [
        "",
        " a",
        "a ",
        "\u{3000}a",
        "a\n",
        "a\tb",
        "a\u{0}",
        "a\u{7f}",
        "a\u{85}b",
        "e\u{301}",
        &format!("{longest}x"),
    ] {
        let problem = create(&ann, &json!({"name": bad})).refused(422, "name_invalid");
        assert_eq!(
            problem["errors"],
            json!([{"field": "name", "code": "name_invalid"}])
        );
    }
    let form = json!({"name": "ok", "topic": "é".repeat(1025)});
    let problem = create(&ann, &form).refused(422, "topic_invalid");
    assert_eq!(problem["errors"][0]["field"], "topic");
    let both = create(&ann, &json!({"name": "", "topic": "é".repeat(1025)}));
    assert_eq!(
        both.refused(422, "name_invalid")["errors"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    create(&ann, &json!({"name": longest, "topic": "é".repeat(1024)})).ok(201);
    create(&ann, &json!({"name": "a b"})).ok(201);
    for (field, value) in [
        ("name", json!(1)),
        ("topic", json!([])),
        ("private", json!("no")),
    ] {
        let mut form = json!({"name": "ok"});
        form[field] = value;
        let problem = create(&ann, &form).refused(422, "field_type");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let problem = create(&ann, &json!({"topic": "x"})).refused(422, "field_missing");
    assert_eq!(problem["errors"][0]["field"], "name");
}

fn public_names_are_unique_under_case_folding(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    ann.create("Straße");
    for taken in ["Straße", "STRASSE", "strasse"] {
        create(&bob, &json!({"name": taken})).refused(409, "name_taken");
    }
    // Private channels share names with everybody.
    bob.create_private("straße");
    ann.create_private("straße");
    let named = bob
        .call(Request::get("/v1/channels?name=Stra%C3%9Fe"))
        .ok(200);
    assert_eq!(named["items"].as_array().unwrap().len(), 1);
    let exact = bob.call(Request::get("/v1/channels?name=STRASSE")).ok(200);
    assert_eq!(exact["items"], json!([]));
}

fn list(person: &Person, query: &str) -> Value {
    person
        .call(Request::get(format!("/v1/channels?{query}")))
        .ok(200)
}

/// Ids of all channels of a list, read in pages of so many.
fn all(person: &Person, filter: &str, limit: usize) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(person, &format!("{filter}&limit={limit}{cursor}"));
        let items = page["items"].as_array().unwrap();
        found.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            assert!(items.len() <= limit);
            return found;
        };
        assert_eq!(items.len(), limit, "a full page is as long as its limit");
        cursor = format!("&cursor={next}");
    }
}

fn lists_go_page_by_page(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let ids: Vec<_> = (0..7)
        .map(|number| ann.create(&format!("room {number}")))
        .collect();
    let hidden = ann.create_private("hidden");
    bob.join(&ids[2]);
    for limit in [1, 2, 7, 8, 200] {
        let mut found = all(&ann, "", limit);
        found.sort();
        let mut expected = ids.clone();
        expected.push(hidden.clone());
        expected.sort();
        assert_eq!(found, expected, "{limit}");
        assert_eq!(all(&bob, "", limit).len(), 7);
        assert_eq!(all(&bob, "joined=true", limit), [ids[2].clone()]);
    }
    let item = &list(&bob, "name=room%202")["items"][0];
    assert_eq!(
        (&item["joined"], &item["owner"]),
        (&json!(true), &json!("ann"))
    );
    assert_eq!(
        list(&bob, "limit=100000")["items"]
            .as_array()
            .unwrap()
            .len(),
        7
    );
    for bad in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.5",
        "joined=maybe",
    ] {
        let answer = ann.call(Request::get(format!("/v1/channels?{bad}")));
        let problem = answer.refused(422, "parameter_invalid");
        assert_eq!(
            problem["errors"][0]["field"],
            bad.split('=').next().unwrap()
        );
    }
    for cursor in ["x", "AAAA", "%00", "..%2f"] {
        let answer = ann.call(Request::get(format!("/v1/channels?cursor={cursor}")));
        answer.refused(422, "parameter_invalid");
    }
}

fn joining_and_leaving_are_entries_and_idempotent(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    let first = bob.join(&channel);
    assert_eq!(
        (&first["channel"], &first["seq"]),
        (&json!(channel), &json!(2))
    );
    assert_eq!(bob.join(&channel), first);
    assert_eq!(ann.join(&channel)["seq"], 1);
    bob.leave(&channel);
    bob.leave(&channel);
    assert_eq!(bob.join(&channel)["seq"], 4);
    let history = ann.history(&channel);
    assert_eq!(
        kinds(&history),
        [
            ("joined", 1, "ann"),
            ("joined", 2, "bob"),
            ("left", 3, "bob"),
            ("joined", 4, "bob")
        ]
    );
    assert!(history[2].get("by").is_none());
}

fn a_private_channel_is_not_there_for_others(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    let channel = ann.create_private("secret");
    let path = format!("/v1/channels/{channel}");
    let unknown = bob.call(Request::get(format!("/v1/channels/{NOWHERE}")));
    unknown.refused(404, "channel_not_found");
    for (method, below) in [
        ("GET", ""),
        ("PUT", "/subscription"),
        ("DELETE", "/subscription"),
        ("GET", "/members"),
        ("PUT", "/members/cleo"),
        ("DELETE", "/members/ann"),
        ("GET", "/history"),
    ] {
        let answer = bob.call(Request::new(method, format!("{path}{below}")));
        assert_eq!(answer.text(), unknown.text(), "{method} {below}");
    }
    bob.post(&channel, "a", &words(1))
        .refused(404, "channel_not_found");
    bob.connect().refused(&channel, "a", &words(1));
    // Any member adds; who was added is a member at once.
    assert_eq!(ann.add(&channel, "bob").status, 204);
    assert_eq!(bob.add(&channel, "CLEO").status, 204);
    assert_eq!(cleo.join(&channel)["seq"], 3);
    cleo.leave(&channel);
    cleo.try_join(&channel).refused(404, "channel_not_found");
    // When the last one has left, it is gone.
    bob.leave(&channel);
    ann.leave(&channel);
    ann.call(Request::get(path))
        .refused(404, "channel_not_found");
}

fn only_the_owner_adds_to_and_removes_from_a_public_channel(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    let channel = ann.create("lounge");
    bob.join(&channel);
    bob.add(&channel, "cleo").refused(403, "not_owner");
    cleo.add(&channel, "cleo").refused(403, "not_owner");
    bob.remove(&channel, "ann").refused(403, "not_owner");
    bob.remove(&channel, "bob").refused(403, "not_owner");
    // NGINX lets no zero byte through.
    let zero = (kind == Kind::Embedded).then_some("%00");
    for unknown in ["nobody", "x", "a%20b"].into_iter().chain(zero) {
        ann.add(&channel, unknown).refused(404, "user_not_found");
        ann.remove(&channel, unknown).refused(404, "user_not_found");
    }
    ann.remove(&channel, "ann").refused(409, "owner_stays");
    assert_eq!(ann.add(&channel, "cleo").status, 204);
    assert_eq!(ann.add(&channel, "cleo").status, 204);
    let members = bob
        .call(Request::get(format!("/v1/channels/{channel}/members")))
        .ok(200);
    let members: Vec<_> = members["items"].as_array().unwrap().iter().collect();
    let roles: Vec<_> = members
        .iter()
        .map(|member| {
            (
                member["username"].as_str().unwrap(),
                member["role"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        roles,
        [("ann", "owner"), ("bob", "member"), ("cleo", "member")]
    );
    assert_eq!(kinds(&ann.history(&channel)).len(), 3);
}

fn who_was_removed_stays_out_until_the_owner_says_so(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob, cleo, dan] = chat.people(["ann", "bob", "cleo", "dan"]);
    for private in [false, true] {
        let channel = if private {
            ann.create_private("den")
        } else {
            ann.create("hall")
        };
        assert_eq!(ann.add(&channel, "bob").status, 204);
        assert_eq!(ann.add(&channel, "dan").status, 204);
        assert_eq!(ann.remove(&channel, "bob").status, 204);
        let history = ann.history(&channel);
        let left = history.last().unwrap();
        assert_eq!((&left["user"], &left["by"]), (&json!("bob"), &json!("ann")));
        let refused = bob.try_join(&channel);
        if private {
            refused.refused(404, "channel_not_found");
            dan.add(&channel, "bob").refused(403, "barred");
        } else {
            refused.refused(403, "barred");
            dan.add(&channel, "bob").refused(403, "not_owner");
        }
        // Again, nothing happens; and who is no member can be barred too.
        assert_eq!(ann.remove(&channel, "bob").status, 204);
        assert_eq!(ann.remove(&channel, "cleo").status, 204);
        assert_eq!(ann.history(&channel), history);
        let expected = if private {
            (404, "channel_not_found")
        } else {
            (403, "barred")
        };
        cleo.try_join(&channel).refused(expected.0, expected.1);
        assert_eq!(ann.add(&channel, "bob").status, 204);
        bob.leave(&channel);
        if !private {
            bob.join(&channel);
        }
    }
}

fn ownership_passes_on(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    let channel = ann.create("lounge");
    cleo.join(&channel);
    bob.join(&channel);
    let owner = || {
        bob.call(Request::get(format!("/v1/channels/{channel}")))
            .ok(200)["owner"]
            .clone()
    };
    ann.leave(&channel);
    assert_eq!(owner(), "cleo");
    ann.join(&channel);
    assert_eq!(owner(), "cleo");
    cleo.leave(&channel);
    assert_eq!(owner(), "bob");
    bob.leave(&channel);
    assert_eq!(owner(), "ann");
    ann.leave(&channel);
    assert_eq!(owner(), Value::Null);
    // An empty public channel belongs to the next who joins.
    cleo.join(&channel);
    assert_eq!(owner(), "cleo");
    assert_eq!(cleo.remove(&channel, "ann").status, 204);
    ann.try_join(&channel).refused(403, "barred");
}

fn a_user_is_in_500_channels_at_most(kind: Kind) {
    let chat = Fixture::setup(kind).start();
    let [ann, bob] = chat.people(["ann", "bob"]);
    let mut connection = crate::support::http::Connection::open(chat.address());
    let mut last = String::new();
    for number in 0..500 {
        let form = json!({"name": format!("room {number}")});
        let request = Request::post("/v1/channels").json(&form).bearer(&ann.token);
        last = connection.call(&request).ok(201)["id"]
            .as_str()
            .unwrap()
            .to_owned();
    }
    create(&ann, &json!({"name": "one more"})).refused(409, "too_many_channels");
    let other = bob.create("bob's");
    ann.try_join(&other).refused(409, "too_many_channels");
    bob.add(&other, "ann").refused(409, "too_many_channels");
    // What one is in already stays idempotent, and leaving makes room.
    ann.join(&last);
    ann.leave(&last);
    ann.join(&other);
    let (_, welcome) = ann.resume(&Value::Null);
    assert_eq!(welcome["channels"].as_object().unwrap().len(), 500);
}
