//! Many at once: what may happen only once, or only so often, does.

use std::thread;

use serde_json::{Value, json};

use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::http::{Answer, Request};
use crate::support::message::{fresh_id, words};
use crate::support::person::Person;
use crate::support::seed::Seed;
use crate::support::socket::Socket;

for_every_kind!(
    one_of_many_gets_the_name,
    many_joins_are_one,
    many_refreshes_are_one,
    limits_hold_against_many_at_once,
    ownership_follows_history,
    what_was_acked_is_in_history_at_once,
);

/// Does the same in so many threads at once.
fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(threads);
    thread::scope(|scope| {
        let (start, work) = (&start, &work);
        let run = |number| {
            scope.spawn(move || {
                start.wait();
                work(number)
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("it went well"))
            .collect()
    })
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers
        .iter()
        .filter(|answer| answer.status == status)
        .count()
}

fn one_of_many_gets_the_name(kind: Kind) {
    let chat = Fixture::of(kind);
    let site = chat.site();
    let answers = at_once(8, |_| site.enter("register", "ann"));
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 7));
    let ann = Person::log_in(site, "ann");
    let names = ["Straße", "STRASSE"];
    let answers = at_once(8, |number| {
        let form = json!({"name": names[number % 2]});
        ann.call(Request::post("/v1/channels").json(&form))
    });
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 7));
    let listed = ann.call(Request::get("/v1/channels")).ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

fn many_joins_are_one(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    for round in 0..10 {
        let answers = at_once(8, |_| bob.join(&channel));
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        at_once(4, |_| bob.leave(&channel));
        assert_eq!(ann.history(&channel).len(), 1 + 2 * (round + 1));
    }
}

fn many_refreshes_are_one(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let refreshed = at_once(8, |_| {
        let mut copy = ann.clone();
        copy.refresh().ok(200);
        copy.refresh_token
    });
    assert!(refreshed.iter().all(|token| *token == refreshed[0]));
    assert_ne!(refreshed[0], ann.refresh_token);
}

fn limits_hold_against_many_at_once(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    for number in 0..495 {
        ann.create_private(&format!("room {number}"));
    }
    let answers = at_once(12, |number| {
        let form = json!({"name": format!("one more {number}")});
        ann.call(Request::post("/v1/channels").json(&form))
    });
    assert_eq!((count(&answers, 201), count(&answers, 409)), (5, 7));
    // Each process that holds sockets allows one user 32.
    let bob = chat.register("bob");
    let most = 32 * chat.capabilities().gateways;
    let sockets = at_once(most + 8, |_| {
        let mut socket = Socket::open(chat.address(), chat.site().contract);
        socket.hello(&bob.token, &Value::Null);
        let first = socket.next();
        (first, socket)
    });
    let welcome = sockets
        .iter()
        .filter(|(first, _)| first["type"] == "welcome")
        .count();
    assert_eq!(welcome, most);
    // More passwords at once than may wait are refused quickly, and can be tried again.
    let answers = at_once(150, |number| {
        chat.site().enter("login", &format!("nobody{number}"))
    });
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 401)
        .collect();
    assert!(!refused.is_empty(), "150 passwords were hashed");
    for answer in refused {
        answer.refused(503, "overloaded");
    }
    chat.site().enter("login", "ann").ok(200);
}

/// People join and leave as they like: members and owner are always what history says.
fn ownership_follows_history(kind: Kind) {
    const PEOPLE: [&str; 5] = ["ann", "bob", "cleo", "dan", "eve"];
    let seed = Seed::of_run();
    let chat = Fixture::setup(kind)
        .set("limits.channel_entries_per_second", "100000")
        .start();
    let people = chat.people(PEOPLE);
    let channel = people[0].create("lounge");
    for _ in 0..8 {
        at_once(PEOPLE.len(), |number| {
            let mut seed = seed.clone();
            for _ in 0..=number {
                seed.next();
            }
            for _ in 0..10 {
                if seed.below(2) == 0 {
                    people[number].join(&channel);
                } else {
                    people[number].leave(&channel);
                }
            }
        });
        people[4].join(&channel);
        let (members, owner) = replay(&people[4].history(&channel));
        let shown = people[4]
            .call(Request::get(format!("/v1/channels/{channel}")))
            .ok(200);
        assert_eq!(shown["owner"], owner.as_str());
        let listed = people[4].call(Request::get(format!("/v1/channels/{channel}/members")));
        let listed = listed.ok(200);
        let listed = listed["items"].as_array().unwrap().iter();
        let mut listed: Vec<_> = listed
            .map(|member| member["username"].as_str().unwrap().to_owned())
            .collect();
        listed.sort();
        let mut expected = members.clone();
        expected.sort();
        assert_eq!(listed, expected);
    }
}

/// Members in the order of their joins, and the owner, as history makes them.
fn replay(history: &[Value]) -> (Vec<String>, String) {
    let (mut members, mut owner) = (Vec::<String>::new(), String::new());
    for entry in history {
        let user = entry["user"].as_str().unwrap().to_owned();
        if entry["type"] == "joined" {
            if owner.is_empty() {
                owner.clone_from(&user);
            }
            members.push(user);
        } else {
            members.retain(|member| *member != user);
            if owner == user {
                owner = members.first().cloned().unwrap_or_default();
            }
        }
    }
    (members, owner)
}

fn what_was_acked_is_in_history_at_once(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    for number in 0..100 {
        let id = fresh_id();
        let seq = if number % 2 == 0 {
            socket.tell(&channel, &id, &words(number))["seq"].clone()
        } else {
            ann.post(&channel, &id, &words(number)).ok(201)["seq"].clone()
        };
        let newest = &ann.page(&channel, "limit=1")["items"][0];
        assert_eq!((&newest["seq"], &newest["id"]), (&seq, &json!(id)));
    }
}
