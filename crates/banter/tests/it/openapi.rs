//! What all calls have in common, and that the documents describe every one of them.

use serde_json::{Value, json};

use crate::support::fixture::Fixture;
use crate::support::hook::Hook;
use crate::support::http::Request;

/// Every call of the interface; the socket is described elsewhere too.
const CALLS: [(&str, &str); 23] = [
    ("POST", "/v1/auth/register"),
    ("POST", "/v1/auth/login"),
    ("POST", "/v1/auth/refresh"),
    ("POST", "/v1/auth/logout"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/v1/me"),
    ("GET", "/v1/channels"),
    ("POST", "/v1/channels"),
    ("GET", "/v1/channels/{id}"),
    ("PUT", "/v1/channels/{id}/subscription"),
    ("DELETE", "/v1/channels/{id}/subscription"),
    ("GET", "/v1/channels/{id}/members"),
    ("PUT", "/v1/channels/{id}/members/{username}"),
    ("DELETE", "/v1/channels/{id}/members/{username}"),
    ("GET", "/v1/channels/{id}/history"),
    ("POST", "/v1/channels/{id}/messages"),
    ("GET", "/v1/channels/{id}/webhooks"),
    ("POST", "/v1/channels/{id}/webhooks"),
    ("DELETE", "/v1/channels/{id}/webhooks/{webhook}"),
    ("POST", "/v1/webhooks/{id}/{secret}"),
    ("GET", "/v1/connect"),
    ("GET", "/openapi.json"),
    ("GET", "/asyncapi.json"),
];

/// Calls that need no access token.
const OPEN: [&str; 9] = [
    "/v1/auth/register",
    "/v1/auth/login",
    "/v1/auth/refresh",
    "/v1/auth/logout",
    "/.well-known/jwks.json",
    "/v1/webhooks/{id}/{secret}",
    "/v1/connect",
    "/openapi.json",
    "/asyncapi.json",
];

/// A path of a template, with this channel and a user.
fn path(template: &str, channel: &str) -> String {
    template
        .replace("{id}", channel)
        .replace("{username}", "bob")
        .replace("{webhook}", channel)
        .replace("{secret}", "guessed")
}

#[test]
fn the_document_describes_every_call() {
    let chat = Fixture::new();
    let document = chat.site().contract.http();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1."),
        "{}",
        document["openapi"]
    );
    let operations = chat.site().contract.operations();
    for (method, path) in CALLS {
        let known = operations.contains(&(method.to_owned(), path.to_owned()));
        let of_documents = ["/openapi.json", "/asyncapi.json"].contains(&path);
        assert!(known || of_documents, "{method} {path}");
    }
    for (method, path) in &operations {
        let meant =
            CALLS.contains(&(method, path)) || ["/livez", "/readyz"].contains(&path.as_str());
        assert!(meant, "not of the interface: {method} {path}");
        let item = &document["paths"][path][method.to_lowercase()];
        assert!(
            item["summary"].is_string() || item["description"].is_string(),
            "{method} {path}"
        );
        if CALLS.contains(&(method, path)) && !OPEN.contains(&path.as_str()) {
            assert!(
                item["security"].is_array(),
                "{method} {path} tells of no token"
            );
        }
    }
    let socket: Value = chat.call(&Request::get("/asyncapi.json")).ok(200);
    assert!(socket["asyncapi"].as_str().unwrap().starts_with('3'));
}

#[test]
fn every_call_wants_a_token() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    for (method, template) in CALLS.into_iter().filter(|call| !OPEN.contains(&call.1)) {
        let path = path(template, &channel);
        let body = json!({"name": "x", "body": "y"});
        let bare = Request::new(method, &path).json(&body);
        chat.call(&bare).refused(401, "token_missing");
        chat.call(&bare.bearer("x")).refused(401, "token_invalid");
        // Who may not come in is not told what is wrong with what he brings.
        let broken = Request::new(method, &path).text("text/plain", "{");
        chat.call(&broken).refused(401, "token_missing");
    }
}

#[test]
fn other_paths_and_methods_are_refused_as_problems() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    for path in [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/me/",
        "/v1//me",
        "/v2/me",
        "/V1/me",
        "/v1/channels/",
        "/v1/auth",
        "/%",
        "/%00",
        "/..%2f..%2fetc/passwd",
        "/.well-known/",
        "/metrics",
        "/drain",
        "/index.html/x",
    ] {
        chat.call(&Request::get(path))
            .refused(404, "route_not_found");
    }
    let channel = ann.create("lounge");
    for (_, template) in CALLS {
        let path = path(template, &channel);
        let allowed: Vec<_> = CALLS
            .iter()
            .filter(|call| call.1 == template)
            .map(|call| call.0)
            .collect();
        for method in ["PATCH", "GET", "PUT", "POST", "DELETE", "TRACE", "BREW"] {
            if allowed.contains(&method) {
                continue;
            }
            let answer = ann.call(Request::new(method, &path));
            answer.refused(405, "method_not_allowed");
            let allow = answer.header("allow").unwrap();
            for method in &allowed {
                assert!(allow.contains(method), "{template}: {allow}");
            }
        }
    }
    for id in [
        "x",
        "0",
        "%FF",
        "01931a2e-7c00-7a41-8f3e-2b6d9c4e1a07x",
        "null",
    ] {
        for below in ["", "/history", "/members"] {
            let answer = ann.call(Request::get(format!("/v1/channels/{id}{below}")));
            answer.refused(404, "channel_not_found");
        }
    }
}

#[test]
fn every_wrong_body_has_its_answer() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let hook = Hook::make(&ann, &channel, "build");
    let with_body = CALLS.into_iter().filter(|call| call.0 == "POST");
    for (method, template) in with_body {
        let path = match template {
            "/v1/webhooks/{id}/{secret}" => hook.path().to_owned(),
            other => path(other, &channel),
        };
        let call = |media_type: &str, body: &[u8]| {
            let request = Request::new(method, &path).bearer(&ann.token);
            chat.call(&request.header("Content-Type", media_type).bytes(body))
        };
        for body in [
            &b"{"[..],
            b"{\"a\":1,}",
            b"nul",
            b"'x'",
            b"{}{}",
            b"\xff\xfe",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":NaN}",
            b"{\"a\":01}",
            b"// x\n{}",
        ] {
            call("application/json", body).refused(400, "body_malformed");
        }
        for body in ["[]", "null", "1", "\"x\"", "[{}]", "true"] {
            call("application/json", body.as_bytes()).refused(422, "not_an_object");
        }
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "json",
            "",
            "application/jsonx",
        ] {
            call(media_type, b"{}").refused(415, "media_type");
        }
        let deep = "[".repeat(30_000);
        let answer = call("application/json", format!("{{\"a\":{deep}").as_bytes());
        answer.refused(400, "body_malformed");
    }
}

#[test]
fn every_wrong_field_is_named() {
    let chat = Fixture::new();
    let register = |text: &str, media_type: &str| {
        chat.call(&Request::post("/v1/auth/register").text(media_type, text))
    };
    for (text, refusal) in [
        ("{}", "field_missing username"),
        (r#"{"username":"bob"}"#, "field_missing password"),
        (
            r#"{"username":1,"password":"long enough"}"#,
            "field_type username",
        ),
        (
            r#"{"username":null,"password":"long enough"}"#,
            "field_type username",
        ),
        (
            r#"{"username":["bob"],"password":"long enough"}"#,
            "field_type username",
        ),
        (r#"{"username":"bob","password":{}}"#, "field_type password"),
        (
            r#"{"username":"bob","password":"long enough","session":1}"#,
            "field_type session",
        ),
        (
            r#"{"username":1e400,"password":"long enough"}"#,
            "field_type username",
        ),
    ] {
        let (code, field) = refusal.split_once(' ').unwrap();
        let problem = register(text, "application/json").refused(422, code);
        assert_eq!(problem["errors"][0]["field"], field, "{text}");
    }
    // Whatever is unknown is passed over; the media type may have parameters and any case.
    let text = r#" {"username":"bob","password":"long enough","x":1e400,"y":[[{}]],"z":"\u0000"} "#;
    register(text, "Application/JSON; charset=utf-8").ok(201);
}

#[test]
fn broken_requests_do_no_harm() {
    use std::io::{Read as _, Write as _};

    use crate::support::http::Connection;

    let chat = Fixture::new();
    for bytes in [
        &b"\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = Connection::open(chat.address());
        let _ = connection.stream.write_all(bytes);
        let _ = connection.stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = connection.stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"), "{answer}");
    }
    // A head without end.
    let mut connection = Connection::open(chat.address());
    let _ = connection
        .stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n");
    for number in 0..2_000 {
        if connection
            .stream
            .write_all(format!("X-{number}: {}\r\n", "y".repeat(100)).as_bytes())
            .is_err()
        {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = connection.stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    chat.register("ann").connect().is_alive();
}

#[test]
fn nothing_operational_is_public() {
    let chat = Fixture::new();
    for path in ["/metrics", "/drain"] {
        chat.call(&Request::get(path))
            .refused(404, "route_not_found");
        chat.call(&Request::post(path))
            .refused(404, "route_not_found");
    }
    assert_eq!(chat.call(&Request::get("/livez")).status, 200);
    let ready = chat.call(&Request::get("/readyz?verbose")).ok(200);
    assert_eq!(ready["status"], "ready");
    let metrics = chat.admin(&Request::get("/metrics"));
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.text().contains("banter_gateway_connections{"),
        "{}",
        metrics.text()
    );
    let page = chat.admin(&Request::get("/"));
    assert!(page.text().contains("Banter"), "{}", page.text());
    chat.admin(&Request::get("/nowhere"))
        .refused(404, "route_not_found");
    chat.admin(&Request::get("/v1/me"))
        .refused(404, "route_not_found");
}
