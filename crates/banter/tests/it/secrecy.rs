//! What people write, their passwords and their tokens reach no log, at any level.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::fixture::{Fixture, Kind};
use crate::support::http::Request;
use crate::support::message::{fresh_id, words};
use crate::support::socket::Socket;

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
        let mut socket = ann.connect();
        socket.tell(&channel, &fresh_id(), &words("over the socket"));
        ann.post(&channel, &fresh_id(), &words("over HTTP")).ok(201);
        ann.history(&channel);
        let wrong = json!({"username": "ann", "password": format!("{PASSWORD}!")});
        chat.call(&Request::post("/v1/auth/login").json(&wrong))
            .refused(401, "login_failed");
        let cookie = json!({"username": "ann", "password": PASSWORD, "session": "cookie"});
        let answer = chat.call(&Request::post("/v1/auth/login").json(&cookie));
        let cookie = answer
            .header("set-cookie")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let refresh = Request::post("/v1/auth/refresh").header("Cookie", cookie);
        chat.call(&refresh.header("Origin", chat.base_url()))
            .ok(200);
        let first = ann.clone();
        ann.refresh().ok(200);
        socket.say(&json!({"type": "auth", "token": ann.token}));
        socket.find("renewed");
        socket.say(&json!({"type": "auth", "token": format!("{}x", ann.token)}));
        socket.find("error");
        // Refused bodies and frames are not quoted either.
        socket.refused(&channel, "bad id", &words("refused"));
        socket.text(&format!(
            r#"{{"type":"send","body":"{}"}}"#,
            words("unreadable")
        ));
        socket.ended();
        let mut stranger = Socket::open(chat.address(), chat.site().contract);
        stranger.hello(&format!("{}x", first.token), &Value::Null);
        stranger.ended();
        let broken = format!(r#"{{"username":"ann","password":"{PASSWORD}""#);
        let request = Request::post("/v1/auth/login").text("application/json", &broken);
        chat.call(&request).refused(400, "body_malformed");
        let in_query = format!("/v1/me?access_token={}", ann.token);
        chat.call(&Request::get(in_query))
            .refused(401, "token_missing");
        ann.log_out();
        chat.stop();
        assert!(chat.log().len() >= 3, "it logged");
    }
}
