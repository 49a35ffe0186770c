//! The parts of a cluster by themselves: what each needs, says and survives.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{Fixture, Kind};
use crate::support::http::{Answer, Connection, Request};
use crate::support::message::words;
use crate::support::person::Person;
use crate::support::{PATIENCE, run};

/// How long a revocation may take to reach every gateway.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

/// What each gateway says to a call, past the balancer.
fn at_gateways(chat: &Fixture, request: &Request) -> Vec<Answer> {
    let gateways = chat.addresses("gateway").into_iter();
    gateways
        .map(|address| Connection::open(address).call(request))
        .collect()
}

fn me(person: &Person) -> Request {
    Request::get("/v1/me").bearer(&person.token)
}

/// Waits until every gateway answers so.
#[track_caller]
fn await_status(chat: &Fixture, request: &Request, status: u16, within: Duration) {
    let since = Instant::now();
    loop {
        let answers = at_gateways(chat, request);
        if answers.iter().all(|answer| answer.status == status) {
            return;
        }
        assert!(since.elapsed() < within, "{answers:?}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_part_says_what_its_settings_lack() {
    let dir = tempfile::tempdir().unwrap();
    for role in ["auth", "gateway", "worker"] {
        let line = run(dir.path(), &["serve", role]).failed();
        assert!(line.contains("database.url"), "{line}");
    }
    let settings = "[database]\nurl = \"postgres://127.0.0.1:9/x\"\n\
                    [log]\nurl = \"redis://127.0.0.1:9\"\n";
    std::fs::write(dir.path().join("cluster.toml"), settings).unwrap();
    let line = |arguments: &[&str]| {
        let arguments = [arguments, &["--config", "cluster.toml"]].concat();
        run(dir.path(), &arguments).failed()
    };
    assert!(line(&["serve"]).contains("banter serve gateway"));
    assert!(line(&["serve", "gateway"]).contains("server.public_url"));
    assert!(line(&["serve", "auth", "--public-url", "http://x"]).contains("auth.secret"));
    assert!(!dir.path().join("banter-data").exists(), "no part needs it");
}

#[test]
fn parts_start_in_any_order_and_tell_what_they_wait_for() {
    let mut chat = Fixture::setup(Kind::Cluster).prepare();
    // A gateway alone: it lives, waits, and refuses in good form.
    chat.spawn("gateway");
    let gateway = chat.addresses("gateway")[0];
    let since = Instant::now();
    let waiting = loop {
        if let Ok(mut connection) = Connection::try_open(gateway) {
            let answer = connection.call(&Request::get("/readyz?verbose"));
            if answer.json()["dependencies"]["keys"]["state"] == "awaited" {
                break answer;
            }
        }
        assert!(since.elapsed() < PATIENCE, "it does not wait for keys");
        sleep(Duration::from_millis(20));
    };
    assert_eq!(waiting.status, 503);
    let mut connection = Connection::open(gateway);
    assert_eq!(connection.call(&Request::get("/livez")).status, 200);
    connection
        .call(&Request::get("/v1/me"))
        .refused(503, "unavailable");
    chat.start();
    let ready = at_gateways(&chat, &Request::get("/readyz?verbose"));
    for answer in ready {
        let states = &answer.ok(200)["dependencies"];
        for name in ["database", "log", "keys"] {
            assert_eq!(states[name]["state"], "up", "{states}");
        }
    }
}

/// A balancer that waits a second for an answer keeps every gateway while what all share hangs.
#[test]
fn a_dependency_that_hangs_sends_nobody_away() {
    const HANGS: Duration = Duration::from_secs(15);
    let chat = Fixture::setup(Kind::Cluster)
        .expect_log("the log does not answer")
        .allow_log("Redis")
        .allow_log("answered with 503")
        .start();
    await_status(&chat, &Request::get("/readyz"), 200, PATIENCE);
    chat.hang_queue(HANGS);
    let since = Instant::now();
    let (mut quickest, mut is_told) = (HANGS, false);
    while since.elapsed() < HANGS - Duration::from_secs(2) && !is_told {
        let asked = Instant::now();
        for answer in at_gateways(&chat, &Request::get("/readyz?verbose")) {
            is_told |= answer.ok(200)["dependencies"]["log"]["state"] == "down";
        }
        quickest = quickest.min(asked.elapsed());
    }
    assert!(is_told, "it is not told");
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[test]
fn a_logout_reaches_every_gateway_whatever_redis_forgets() {
    let chat = Fixture::of(Kind::Cluster);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    await_status(&chat, &me(&ann), 200, PATIENCE);
    assert_eq!(ann.log_out().status, 204);
    await_status(&chat, &me(&ann), 401, REVOKED_WITHIN);
    // Emptied: auth processes fill it again, and nothing that was revoked comes back.
    chat.empty_queue();
    assert_eq!(bob.log_out().status, 204);
    await_status(&chat, &me(&bob), 401, REVOKED_WITHIN);
    await_status(&chat, &me(&ann), 401, REVOKED_WITHIN);
    await_status(&chat, &me(&cleo), 200, PATIENCE);
    chat.command(&["user", "disable", "cleo"]).succeeded();
    await_status(&chat, &me(&cleo), 401, REVOKED_WITHIN);
}

#[test]
fn gateways_go_on_without_auth_and_find_the_keys_when_they_come_back() {
    let mut chat = Fixture::of(Kind::Cluster);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    assert_eq!(bob.log_out().status, 204);
    await_status(&chat, &me(&bob), 401, REVOKED_WITHIN);
    chat.end("auth", Signal::KILL);
    chat.end("gateway", Signal::TERM);
    chat.spawn("gateway");
    chat.ready("gateway");
    await_status(&chat, &me(&ann), 200, PATIENCE);
    await_status(&chat, &me(&bob), 401, REVOKED_WITHIN);
    let mut socket = ann.connect();
    socket.tell(&channel, "still", &words("here"));
    let refused = chat.site().enter("login", "ann");
    assert!([502, 503].contains(&refused.status), "{refused:?}");
    chat.spawn("auth");
    chat.ready("auth");
    chat.site().enter("login", "ann").ok(200);
}

#[test]
fn keys_are_rotated_for_the_whole_cluster() {
    let chat = Fixture::of(Kind::Cluster);
    let ann = chat.register("ann");
    chat.command(&["keys", "rotate"]).succeeded();
    let since = Instant::now();
    let fresh = loop {
        let fresh = Person::log_in(chat.site(), "ann");
        let kid = |person: &Person| person.token.split('.').next().map(str::to_owned);
        if kid(&fresh) != kid(&ann) {
            break fresh;
        }
        assert!(since.elapsed() < PATIENCE, "the old key signs still");
        sleep(Duration::from_millis(50));
    };
    await_status(&chat, &me(&fresh), 200, PATIENCE);
    await_status(&chat, &me(&ann), 200, PATIENCE);
    chat.command(&["keys", "rotate", "--compromised"])
        .succeeded();
    await_status(&chat, &me(&fresh), 401, REVOKED_WITHIN);
    await_status(&chat, &me(&ann), 401, REVOKED_WITHIN);
    let again = Person::log_in(chat.site(), "ann");
    await_status(&chat, &me(&again), 200, PATIENCE);
}

#[test]
fn guesses_count_for_the_whole_cluster() {
    let mut chat = Fixture::of(Kind::Cluster);
    let ann = chat.register("ann");
    let form = serde_json::json!({"username": "ann", "password": "wrong horse battery"});
    let guess = Request::post("/v1/auth/login").json(&form);
    for _ in 0..5 {
        chat.call(&guess).refused(401, "login_failed");
    }
    // Another auth process knows of them, though it has seen none: one more, and ann must wait.
    chat.end("auth", Signal::KILL);
    chat.spawn("auth");
    chat.ready("auth");
    let since = Instant::now();
    while chat.call(&guess).status != 401 {
        assert!(since.elapsed() < PATIENCE, "it waits for ever");
        sleep(Duration::from_millis(50));
    }
    let site = chat.site();
    site.enter("login", "ann").refused(429, "login_throttled");
    await_status(&chat, &me(&ann), 200, PATIENCE);
}

/// Sends a message until it is queued, as a client does.
#[track_caller]
fn queue(person: &Person, channel: &str, id: &str) {
    let request = Request::post(format!("/v1/channels/{channel}/messages"))
        .header("Prefer", "respond-async")
        .header("Idempotency-Key", id)
        .json(&serde_json::json!({"body": words(id)}));
    let since = Instant::now();
    while person.call(request.clone()).status != 202 {
        assert!(since.elapsed() < PATIENCE, "it is not taken");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_queue_tells_what_waits() {
    let mut chat = Fixture::of(Kind::Cluster);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    chat.end("worker", Signal::TERM);
    for number in 0..7 {
        queue(&ann, &channel, &format!("n{number}"));
    }
    let status = chat.command(&["queue", "status", "--json"]).succeeded();
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (&status["entries"], &status["channels"]),
        (&7.into(), &1.into())
    );
    assert_eq!(ann.history(&channel).len(), 8, "what waits is in history");
    chat.spawn("worker");
    chat.ready("worker");
    let since = Instant::now();
    loop {
        let text = chat.command(&["queue", "status"]).succeeded();
        if text.starts_with("0 entries of 0 channels") {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{text}");
        sleep(Duration::from_millis(50));
    }
    assert_eq!(
        chat.command(&["queue", "rejected", "--json"]).succeeded(),
        ""
    );
    assert!(chat.metric("banter_worker_messages_persisted_total") >= 7.0);
}

/// The database lags behind the log: it must not be asked alone who is a member.
#[test]
fn who_comes_back_before_the_leave_is_stored_is_a_member_again() {
    let mut chat = Fixture::of(Kind::Cluster);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let (public, private) = (ann.create("lounge"), ann.create_private("hidden"));
    ann.add(&private, "bob");
    let first = bob.join(&public)["seq"].clone();
    let mut socket = bob.connect();
    chat.end("worker", Signal::TERM);
    let subscription = |method: &str, channel: &str| {
        let path = format!("/v1/channels/{channel}/subscription");
        bob.call(Request::new(method, path))
    };
    std::thread::scope(|scope| {
        for channel in [&public, &private] {
            // On a busy machine the workers may be back too late for an answer.
            scope.spawn(|| assert!([204, 503].contains(&subscription("DELETE", channel).status)));
            socket.find("left");
        }
        // Before the other join, which keeps Bob's seat until it is stored.
        subscription("PUT", &private).refused(404, "channel_not_found");
        let again = scope.spawn(|| {
            let answers = std::iter::repeat_with(|| subscription("PUT", &public));
            let mut answered = answers.skip_while(|answer| answer.status == 503);
            answered.next().expect("without end").ok(200)
        });
        assert_eq!(socket.find("joined")["user"], "bob");
        chat.spawn("worker");
        let again = again.join().expect("it is answered");
        assert!(again["seq"].as_u64() > first.as_u64(), "{again}");
    });
}

/// As docs/deployment.md has it: the copy of a night is put back. What Redis still knows of the
/// history that it ended counts no more.
#[test]
fn an_older_copy_of_the_database_begins_a_new_epoch() {
    let mut chat = Fixture::of(Kind::Cluster);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    bob.join(&channel);
    let kept = ann.post(&channel, "kept", &words("kept")).ok(201);
    chat.stop();
    chat.copy_database();
    chat.start();
    let lost = ann.post(&channel, "lost", &words("lost")).ok(201);
    chat.stop();
    chat.put_database_back();
    let begun = chat.command(&["new-epoch"]).succeeded();
    assert!(begun.ends_with("has begun\n"), "{begun}");
    chat.start();
    let at = |ack: &Value| json!({&channel: {"seq": ack["seq"], "epoch": ack["epoch"]}});
    let anew = ann.post(&channel, "anew", &words("anew")).ok(201);
    assert_eq!(anew["seq"], lost["seq"]);
    assert_ne!(anew["epoch"], lost["epoch"]);
    let (mut even, _) = bob.resume(&at(&kept));
    assert_eq!(even.expect("message")["id"], "anew");
    let (mut ahead, _) = ann.resume(&at(&lost));
    let reset = ahead.expect("reset");
    assert_eq!(reset["reason"], "epoch");
    assert_eq!(
        (&reset["seq"], &reset["epoch"]),
        (&anew["seq"], &anew["epoch"])
    );
    let history = ann.history(&channel);
    let ids: Vec<_> = history.iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids, ["kept", "anew"]);
}

#[test]
fn one_process_has_no_queue() {
    let dir = tempfile::tempdir().unwrap();
    let line = run(dir.path(), &["queue", "status"]).failed();
    assert!(line.contains("log.url"), "{line}");
}
