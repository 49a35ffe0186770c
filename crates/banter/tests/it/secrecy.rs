//! What people write, their passwords, their tokens and the secrets in paths reach no log, at any
//! level, and no page for operators.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::fixture::{Fixture, Kind};
use crate::support::hook::Hook;
use crate::support::http::Request;
use crate::support::logs;
use crate::support::message::{fresh_id, words, words_of};
use crate::support::person::Person;
use crate::support::socket::{Socket, upgrade};

/// Every fixture of these tests is looked through; this one logs all it can.
#[test]
fn logs_keep_secrets_at_every_level() {
    for level in ["trace", "trace,banter=trace,hyper=trace,sqlx=trace"] {
        let mut chat = Fixture::setup(Kind::Embedded)
            .set("telemetry.log_level", level)
            .allow_log("\"level\":\"TRACE\"")
            .start();
        let mut ann = chat.register("ann");
        let channel = ann.create("lounge");
        passwords(&chat);
        cookies(&chat);
        let old = ann.clone();
        messages(&ann, &channel);
        sockets(&chat, &mut ann, &old, &channel);
        paths_and_headers(&chat, &ann);
        webhooks(&chat, &ann, &channel);
        commands(&chat);
        operators(&chat);
        ann.log_out();
        chat.stop();
        assert!(chat.log().len() >= 3, "it logged");
    }
}

fn passwords(chat: &Fixture) {
    let wrong = json!({"username": "ann", "password": format!("{PASSWORD}!")});
    chat.call(&Request::post("/v1/auth/login").json(&wrong))
        .refused(401, "login_failed");
    let broken = format!(r#"{{"username":"ann","password":"{PASSWORD}""#);
    let request = Request::post("/v1/auth/login").text("application/json", &broken);
    chat.call(&request).refused(400, "body_malformed");
    // A password that was typed where the name belongs.
    let swapped = json!({"username": PASSWORD, "password": "ann"});
    chat.call(&Request::post("/v1/auth/login").json(&swapped))
        .refused(401, "login_failed");
    let unfit = json!({"username": PASSWORD, "password": PASSWORD});
    chat.call(&Request::post("/v1/auth/register").json(&unfit))
        .refused(422, "username_invalid");
}

fn cookies(chat: &Fixture) {
    let cookie = json!({"username": "ann", "password": PASSWORD, "session": "cookie"});
    let answer = chat.call(&Request::post("/v1/auth/login").json(&cookie));
    let cookie = answer.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let refresh = Request::post("/v1/auth/refresh").header("Cookie", cookie);
    chat.call(&refresh.clone().header("Origin", chat.base_url()))
        .ok(200);
    chat.call(&refresh.header("Origin", "http://elsewhere.example"))
        .refused(403, "origin_refused");
}

fn messages(ann: &Person, channel: &str) {
    ann.post(channel, &fresh_id(), &words("over HTTP")).ok(201);
    ann.post(channel, &fresh_id(), &words_of(20_000))
        .refused(422, "body_invalid");
    ann.post(channel, &words("as a key"), &words("refused"))
        .refused(422, "id_invalid");
    ann.history(channel);
}

fn sockets(chat: &Fixture, ann: &mut Person, old: &Person, channel: &str) {
    let mut socket = ann.connect();
    socket.tell(channel, &fresh_id(), &words("over the socket"));
    ann.refresh().ok(200);
    socket.say(&json!({"type": "auth", "token": ann.token}));
    socket.find("renewed");
    socket.say(&json!({"type": "auth", "token": format!("{}x", ann.token)}));
    socket.find("error");
    // Refused bodies and frames are not quoted either.
    socket.refused(channel, "bad id", &words("refused"));
    socket.say(&json!({"type": words("as a type")}));
    socket.find("error");
    socket.text(&format!(
        r#"{{"type":"send","body":"{}"}}"#,
        words("unreadable")
    ));
    socket.ended();
    let mut stranger = Socket::open(chat.address(), chat.site().contract);
    stranger.hello(&format!("{}x", old.token), &Value::Null);
    stranger.ended();
    // A token where none belongs.
    let subprotocol = upgrade().header("Sec-WebSocket-Protocol", ann.token.clone());
    drop(Socket::request(chat.address(), &subprotocol));
}

fn paths_and_headers(chat: &Fixture, ann: &Person) {
    let in_query = format!("/v1/me?access_token={}", ann.token);
    chat.call(&Request::get(in_query))
        .refused(401, "token_missing");
    let in_path = format!("/v1/channels/{}", ann.token);
    ann.call(Request::get(in_path))
        .refused(404, "channel_not_found");
    let basic = Request::get("/v1/me").header("Authorization", format!("Basic {PASSWORD}"));
    chat.call(&basic).refused(401, "token_invalid");
    let twice = Request::get("/v1/me").bearer(&ann.token).bearer(&ann.token);
    chat.call(&twice).refused(401, "token_invalid");
}

/// Its secret is long enough to be recognised like a token.
fn webhooks(chat: &Fixture, ann: &Person, channel: &str) {
    let hook = Hook::make(ann, channel, "build");
    assert!(logs::is_secret(hook.secret()), "{}", hook.secret());
    hook.say(&words("from a webhook"));
    let text = json!({"text": words("from a webhook")});
    for path in [
        format!("{}x", hook.path()),
        format!("{}/x", hook.path()),
        format!("{}?x", hook.path()),
        format!("{}%ff", hook.path()),
        hook.path().replace("webhooks", "webhook"),
    ] {
        chat.call(&Request::post(path).json(&text));
    }
    chat.call(&Request::get(hook.path()))
        .refused(405, "method_not_allowed");
    let broken = Request::post(hook.path()).text("application/json", &words("{"));
    chat.call(&broken).refused(400, "body_malformed");
    hook.post(&json!({"text": words_of(20_000)}))
        .refused(422, "body_invalid");
    hook.delete(ann, channel).ok(204);
    hook.post(&text).refused(404, "webhook_not_found");
}

fn commands(chat: &Fixture) {
    let shown =
        chat.command(&["config"]).succeeded() + &chat.command(&["keys", "list"]).succeeded();
    let rotated = chat.command(&["keys", "rotate"]).succeeded();
    let listed = chat.command(&["user", "list", "--json"]).succeeded();
    refuse_secrets(&(shown + &rotated + &listed));
}

fn operators(chat: &Fixture) {
    for path in ["/metrics", "/status.json", "/readyz?verbose"] {
        refuse_secrets(&chat.admin(&Request::get(path)).text());
    }
}

#[track_caller]
fn refuse_secrets(text: &str) {
    let found: Vec<_> = text.lines().filter(|line| logs::is_secret(line)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
