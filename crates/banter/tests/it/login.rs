//! Accounts, sessions and tokens over HTTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::fixture::{Fixture, Kind, for_every_kind, for_one_process};
use crate::support::http::{Answer, Request};
use crate::support::person::Person;
use crate::support::socket::Socket;

for_every_kind!(
    registering_gives_tokens,
    bad_names_and_passwords_are_refused_by_field,
    passwords_are_taken_verbatim,
    a_failed_login_does_not_tell_why,
    failures_of_an_account_cost_time,
    refresh_tokens_rotate,
    bad_refresh_tokens_are_refused_alike,
    logging_out_ends_the_session_at_once,
    a_disabled_account_is_out_within_two_seconds,
    a_browser_keeps_its_session_in_a_cookie,
    behind_tls_the_cookie_is_secure,
    the_public_keys_are_published,
);
for_one_process!(
    an_account_made_beside_the_server_can_log_in: "there is no file to work on beside a cluster",
);

/// How long a session that has ended may be taken for a running one.
const OVER_WITHIN: Duration = Duration::from_secs(2);

/// What the server logs when it ends a session because of its refresh token.
const REUSED: &str = "an old refresh token was used";

fn post(path: &str, form: &Value) -> Request {
    Request::post(path).json(form)
}

fn credentials(username: &str, password: &str) -> Value {
    json!({"username": username, "password": password})
}

/// A socket that has said `hello`.
fn open(chat: &Fixture, token: &str) -> Socket {
    let mut socket = Socket::open(chat.address(), chat.site().contract);
    socket.hello(token, &Value::Null);
    socket
}

/// Waits until a token is taken no more. What ended its session is known to the process that was
/// told first, and to each other one within two seconds.
#[track_caller]
fn token_is_over(person: &Person, since: Instant) {
    loop {
        let answer = person.call(Request::get("/v1/me"));
        if answer.status != 200 {
            answer.refused(401, "token_invalid");
            return;
        }
        assert!(since.elapsed() < OVER_WITHIN, "the token is still taken");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn registering_gives_tokens(kind: Kind) {
    let chat = Fixture::of(kind);
    let answer = chat.site().enter("register", "Ann.B-1_");
    let tokens = answer.ok(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 600);
    assert_eq!(tokens["user"]["username"], "ann.b-1_");
    let ann = Person::from(chat.site(), &tokens);
    assert!(ann.token.len() <= 2048);
    let me = ann.call(Request::get("/v1/me")).ok(200);
    assert_eq!(
        (&me["id"], &me["username"]),
        (&tokens["user"]["id"], &"ann.b-1_".into())
    );

    let taken = chat.site().enter("register", "ANN.B-1_");
    taken.refused(409, "username_taken");
    let again = Person::log_in(chat.site(), "ANN.b-1_");
    assert_eq!(again.id, ann.id);
    assert_ne!(again.token, ann.token);
}

fn bad_names_and_passwords_are_refused_by_field(kind: Kind) {
    let chat = Fixture::of(kind);
    let register = |username: &str, password: &str| {
        chat.call(&post("/v1/auth/register", &credentials(username, password)))
    };
    let long = "a".repeat(33);
    for username in [
        "ab",
        "",
        &long,
        "an n",
        " ann",
        "änn",
        "\u{212a}elvin",
        "ann\u{0}",
        "ann\n",
    ] {
        let problem = register(username, PASSWORD).refused(422, "username_invalid");
        let errors = json!([{"field": "username", "code": "username_invalid"}]);
        assert_eq!(problem["errors"], errors, "{username:?}");
    }
    let too_long = "a".repeat(1025);
    for password in ["", "1234567", "éééé", "password", "iloveyou", &too_long] {
        let problem = register("ann", password).refused(422, "password_weak");
        let errors = json!([{"field": "password", "code": "password_weak"}]);
        assert_eq!(problem["errors"], errors, "{password:?}");
    }
    let both = register("", "").refused(422, "username_invalid");
    assert_eq!(both["errors"].as_array().unwrap().len(), 2, "{both}");
}

fn passwords_are_taken_verbatim(kind: Kind) {
    let chat = Fixture::of(kind);
    // At their bounds: 8 characters, 1,024 bytes; space and NUL included.
    let longest = "é".repeat(512);
    for (number, password) in ["ßßßßßßßß", &longest, "  spaces ", "nul\u{0}nul\u{0}"]
        .into_iter()
        .enumerate()
    {
        let username = format!("user{number}");
        let form = credentials(&username, password);
        chat.call(&post("/v1/auth/register", &form)).ok(201);
        chat.call(&post("/v1/auth/login", &form)).ok(200);
        let other = [password.trim(), password.trim_end_matches('\0')];
        for other in other.into_iter().filter(|other| *other != password) {
            let form = credentials(&username, other);
            chat.call(&post("/v1/auth/login", &form))
                .refused(401, "login_failed");
        }
    }
}

/// What may differ between two answers without telling anything.
fn told(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

fn a_failed_login_does_not_tell_why(kind: Kind) {
    let chat = Fixture::of(kind);
    let [_ann, _bob] = chat.people(["ann", "bob"]);
    chat.command(&["user", "disable", "bob"]).succeeded();
    let login = |username: &str, password: &str| {
        let before = chat.metric("banter_auth_password_hash_duration_seconds_count");
        let answer = chat.call(&post("/v1/auth/login", &credentials(username, password)));
        let hashes = chat.metric("banter_auth_password_hash_duration_seconds_count") - before;
        answer.refused(401, "login_failed");
        (told(&answer), hashes.to_string())
    };
    let wrong = login("ann", "wrong password");
    assert_eq!(wrong.1, "1");
    assert_eq!(login("nobody", PASSWORD), wrong);
    assert_eq!(login("bob", PASSWORD), wrong);
    assert_eq!(login("bob", "wrong password"), wrong);
    assert_eq!(login("no such name!", PASSWORD), wrong);
    assert_eq!(login("ann", "short"), wrong);
    assert_eq!(login("ann", &"a".repeat(2000)), wrong);
}

fn failures_of_an_account_cost_time(kind: Kind) {
    let chat = Fixture::of(kind);
    chat.register("ann");
    let bad = post("/v1/auth/login", &credentials("ann", "wrong password"));
    let good = post("/v1/auth/login", &credentials("ANN", PASSWORD));
    for _ in 0..5 {
        chat.call(&bad).refused(401, "login_failed");
    }
    // The right password has to wait as well, or it would be told apart.
    let waiting = chat.call(&good);
    waiting.refused(429, "login_throttled");
    assert_eq!(waiting.header("retry-after"), Some("1"));
    // An account that does not exist is throttled alike.
    let unknown = post("/v1/auth/login", &credentials("nobody", "wrong password"));
    for _ in 0..5 {
        chat.call(&unknown).refused(401, "login_failed");
    }
    chat.call(&unknown).refused(429, "login_throttled");
    // It is over after a while, and for ever after a success.
    let since = Instant::now();
    while chat.call(&good).status == 429 {
        assert!(since.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..5 {
        chat.call(&bad).refused(401, "login_failed");
    }
}

fn refresh_tokens_rotate(kind: Kind) {
    let chat = Fixture::setup(kind).expect_log(REUSED).start();
    let mut ann = chat.register("ann");
    let first = ann.clone();
    let answer = ann.refresh();
    answer.ok(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_ne!(ann.refresh_token, first.refresh_token);
    // A lost answer can be asked for again: the predecessor gets the same successor.
    let mut again = first.clone();
    again.refresh().ok(200);
    assert_eq!(again.refresh_token, ann.refresh_token);
    // What is older is refused, and ends the session.
    ann.refresh().ok(200);
    let second = ann.clone();
    let since = Instant::now();
    first.clone().refresh().refused(401, "refresh_invalid");
    second.clone().refresh().refused(401, "refresh_invalid");
    token_is_over(&ann, since);
    token_is_over(&first, since);
    // Another session of the same account goes on.
    Person::log_in(chat.site(), "ann")
        .call(Request::get("/v1/me"))
        .ok(200);
}

fn bad_refresh_tokens_are_refused_alike(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let mut wrong = ann.refresh_token.clone().into_bytes();
    wrong[30] = if wrong[30] == b'A' { b'B' } else { b'A' };
    let wrong = String::from_utf8(wrong).unwrap();
    for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
        chat.call(&Request::post(path))
            .refused(401, "refresh_invalid");
        chat.call(&post(path, &json!({})))
            .refused(401, "refresh_invalid");
        for token in ["", "x", &wrong, &ann.token, &"a".repeat(60_000)] {
            let form = json!({"refresh_token": token});
            chat.call(&post(path, &form))
                .refused(401, "refresh_invalid");
        }
        let form = json!({"refresh_token": 1});
        chat.call(&post(path, &form)).refused(422, "field_type");
    }
    ann.call(Request::get("/v1/me")).ok(200);
}

fn logging_out_ends_the_session_at_once(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let other = Person::log_in(chat.site(), "ann");
    let (mut socket, mut other_socket) = (ann.connect(), other.connect());
    let since = Instant::now();
    assert_eq!(ann.log_out().status, 204);
    socket
        .ended_within(OVER_WITHIN)
        .with(4505, Some("session_ended"));
    assert!(since.elapsed() < OVER_WITHIN);
    ann.log_out().refused(401, "refresh_invalid");
    ann.clone().refresh().refused(401, "refresh_invalid");
    token_is_over(&ann, since);
    open(&chat, &ann.token)
        .ended()
        .with(4505, Some("session_ended"));
    other_socket.is_alive();
    other.call(Request::get("/v1/me")).ok(200);
}

fn a_disabled_account_is_out_within_two_seconds(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let (mut hers, mut his) = (ann.connect(), bob.connect());
    chat.command(&["user", "disable", "ann"]).succeeded();
    let since = Instant::now();
    hers.ended_within(OVER_WITHIN)
        .with(4504, Some("account_disabled"));
    token_is_over(&ann, since);
    ann.clone().refresh().refused(401, "refresh_invalid");
    chat.site()
        .enter("login", "ann")
        .refused(401, "login_failed");
    open(&chat, &ann.token)
        .ended()
        .with(4504, Some("account_disabled"));
    his.is_alive();
    // Enabled again, the account logs in; its old sessions stay ended.
    chat.command(&["user", "enable", "ann"]).succeeded();
    let since = Instant::now();
    loop {
        let again = Person::log_in(chat.site(), "ann");
        let mut socket = open(&chat, &again.token);
        if socket.next()["type"] == "welcome" {
            break socket.is_alive();
        }
        assert!(since.elapsed() < Duration::from_secs(2), "still disabled");
    }
    ann.clone().refresh().refused(401, "refresh_invalid");
}

fn an_account_made_beside_the_server_can_log_in(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("auth.registration", "closed")
        .start();
    chat.site()
        .enter("register", "ann")
        .refused(403, "registration_closed");
    let added = crate::support::run_with_input(
        chat.data_dir(),
        &["user", "add", "ann", "--data-dir", "."],
        &format!("{PASSWORD}\n"),
    );
    added.succeeded();
    Person::log_in(chat.site(), "ann").connect().is_alive();
}

fn cookie_of(answer: &Answer) -> (String, Vec<String>) {
    let cookie = answer.header("set-cookie").expect("a cookie");
    let mut parts = cookie.split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

fn a_browser_keeps_its_session_in_a_cookie(kind: Kind) {
    let chat = Fixture::of(kind);
    let form = json!({"username": "ann", "password": PASSWORD, "session": "cookie"});
    let answer = chat.call(&post("/v1/auth/register", &form));
    let tokens = answer.ok(201);
    assert!(tokens.get("refresh_token").is_none(), "{tokens}");
    let (cookie, attributes) = cookie_of(&answer);
    assert!(cookie.starts_with("banter_refresh="), "{cookie}");
    for attribute in ["Path=/v1/auth", "HttpOnly", "SameSite=Strict"] {
        assert!(
            attributes.iter().any(|given| given == attribute),
            "{attributes:?}"
        );
    }
    assert!(
        !attributes
            .iter()
            .any(|given| given == "Secure" || given.starts_with("Domain"))
    );

    let with = |path: &str, cookie: &str, origin: Option<&str>| {
        let request = Request::post(path).header("Cookie", cookie);
        match origin {
            Some(origin) => chat.call(&request.header("Origin", origin)),
            None => chat.call(&request),
        }
    };
    let own = chat.base_url();
    for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
        for origin in [None, Some("http://evil.example"), Some("null"), Some("")] {
            with(path, &cookie, origin).refused(403, "origin_refused");
        }
        with(path, "banter_refresh=x", Some(&own)).refused(401, "refresh_invalid");
        with(path, "other=x", Some(&own)).refused(401, "refresh_invalid");
    }
    let refreshed = with("/v1/auth/refresh", &cookie, Some(&own));
    assert!(refreshed.ok(200).get("refresh_token").is_none());
    let (next, _) = cookie_of(&refreshed);
    assert_ne!(next, cookie);
    let gone = with("/v1/auth/logout", &next, Some(&own));
    assert_eq!(gone.status, 204);
    let (empty, attributes) = cookie_of(&gone);
    assert_eq!(empty, "banter_refresh=");
    assert!(
        attributes.iter().any(|given| given == "Max-Age=0"),
        "{attributes:?}"
    );
    with("/v1/auth/refresh", &next, Some(&own)).refused(401, "refresh_invalid");
}

fn behind_tls_the_cookie_is_secure(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("server.public_url", "https://chat.example")
        .set("server.allowed_origins", "https://app.example")
        .start();
    let form = json!({"username": "ann", "password": PASSWORD, "session": "cookie"});
    let (cookie, attributes) = cookie_of(&chat.call(&post("/v1/auth/register", &form)));
    assert!(cookie.starts_with("__Secure-banter_refresh="), "{cookie}");
    assert!(
        attributes.iter().any(|given| given == "Secure"),
        "{attributes:?}"
    );
    let mut cookie = cookie;
    for origin in ["https://chat.example", "https://app.example"] {
        let request = Request::post("/v1/auth/refresh").header("Cookie", cookie);
        let answer = chat.call(&request.header("Origin", origin));
        answer.ok(200);
        cookie = cookie_of(&answer).0;
    }
    let form = json!({"username": "bob", "password": PASSWORD, "session": "biscuit"});
    chat.call(&post("/v1/auth/register", &form))
        .refused(422, "field_type");
}

fn the_public_keys_are_published(kind: Kind) {
    let chat = Fixture::of(kind);
    let answer = chat.call(&Request::get("/.well-known/jwks.json"));
    assert_eq!(answer.header("cache-control"), Some("max-age=300"));
    let keys = answer.ok(200);
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(
            (&key["kty"], &key["crv"]),
            (&"OKP".into(), &"Ed25519".into())
        );
        assert!(key.get("d").is_none(), "{key}");
    }
    let ann = chat.register("ann");
    let (head, claims) = crate::token::decode(&ann.token);
    assert_eq!(
        (&head["alg"], &head["typ"]),
        (&"EdDSA".into(), &"at+jwt".into())
    );
    assert!(keys.iter().any(|key| key["kid"] == head["kid"]));
    assert_eq!(claims["iss"], chat.base_url());
    assert_eq!(
        (&claims["aud"], &claims["name"]),
        (&"banter".into(), &"ann".into())
    );
    assert_eq!(claims["sub"], ann.id);
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 600);
    for claim in ["sid", "jti"] {
        assert!(claims[claim].is_string(), "{claims}");
    }
}
