//! The calls over a real connection.

use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::settings::{Registration, Settings};

const PASSWORD: &str = "correct horse battery";

struct Server {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Ends the server when the test does.
    _shutdown: DropGuard,
    _directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Server {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(mut settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        settings.server.data_dir = directory.path().to_owned();
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listeners = crate::Listeners {
            public: Some(listen().await),
            admin: listen().await,
        };
        let public = listeners.public.as_ref().unwrap();
        let url = format!("http://{}", public.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        // Requests wait in the listener until it serves.
        let (role, end) = (crate::Role::All, shutdown.clone());
        tokio::spawn(crate::run(role, settings, listeners, end, || {}));
        Self {
            url,
            client: Client::builder(TokioExecutor::new()).build_http(),
            _shutdown: shutdown.drop_guard(),
            _directory: directory,
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let json = (header::CONTENT_TYPE, "application/json");
        self.call(Method::POST, path, &[json], &body.to_string())
            .await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [(header::AUTHORIZATION, bearer.as_str())];
        self.call(Method::GET, path, &headers, "").await
    }

    async fn register(&self, session: &str) -> Answer {
        let form = json!({"username": "Ann", "password": PASSWORD, "session": session});
        let answer = self.post("/v1/auth/register", form).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }
}

impl Answer {
    fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    fn is(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.text("code"), code, "{self:?}");
        let media_type = &self.headers[header::CONTENT_TYPE];
        assert_eq!(media_type, "application/problem+json");
    }
}

#[tokio::test]
async fn an_account_is_made_used_and_left() {
    let server = Server::new().await;
    let registered = server.register("token").await;
    assert_eq!(registered.body["token_type"], "Bearer");
    assert_eq!(registered.body["expires_in"], 600);
    assert_eq!(registered.body["user"]["username"], "ann");
    assert_eq!(registered.headers[header::CACHE_CONTROL], "no-store");
    assert!(!registered.headers.contains_key(header::SET_COOKIE));

    let me = server.get("/v1/me", registered.text("access_token")).await;
    assert_eq!(me.status, 200);
    assert_eq!(me.body["id"], registered.body["user"]["id"]);
    assert!(me.text("created_at").ends_with('Z'));

    let again = server
        .post("/v1/auth/register", form("ann", PASSWORD))
        .await;
    again.is(409, "username_taken");

    let refresh = json!({"refresh_token": registered.text("refresh_token")});
    let refreshed = server.post("/v1/auth/refresh", refresh).await;
    assert_eq!(refreshed.status, 200);
    let newest = json!({"refresh_token": refreshed.text("refresh_token")});
    let left = server.post("/v1/auth/logout", newest.clone()).await;
    assert_eq!(
        (left.status, left.body),
        (StatusCode::NO_CONTENT, Value::Null)
    );
    let refused = server.post("/v1/auth/logout", newest).await;
    refused.is(401, "refresh_invalid");
    for issued in [registered, refreshed] {
        let me = server.get("/v1/me", issued.text("access_token")).await;
        me.is(401, "token_invalid");
        assert_eq!(me.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
}

fn form(username: &str, password: &str) -> Value {
    json!({"username": username, "password": password})
}

#[tokio::test]
async fn every_bad_form_has_its_answer() {
    let server = Server::new().await;
    for path in ["/v1/auth/register", "/v1/auth/login"] {
        for (body, code, field) in [
            (json!([]), "not_an_object", Some("")),
            (
                json!({"password": PASSWORD}),
                "field_missing",
                Some("username"),
            ),
            (
                json!({"username": "ann"}),
                "field_missing",
                Some("password"),
            ),
            (
                json!({"username": 1, "password": PASSWORD}),
                "field_type",
                Some("username"),
            ),
            (
                json!({"username": "ann", "password": null}),
                "field_type",
                Some("password"),
            ),
            (
                json!({"username": "ann", "password": PASSWORD, "session": "jar"}),
                "field_type",
                Some("session"),
            ),
            (
                json!({"username": "ann", "password": PASSWORD, "session": 1}),
                "field_type",
                Some("session"),
            ),
        ] {
            let answer = server.post(path, body).await;
            answer.is(422, code);
            if let Some(field) = field {
                assert_eq!(answer.body["errors"][0]["field"], field);
                assert_eq!(answer.body["errors"][0]["code"], code);
            }
        }
    }
    let weak = server
        .post("/v1/auth/register", form("a b", "password"))
        .await;
    weak.is(422, "username_invalid");
    assert_eq!(weak.body["errors"][1]["field"], "password");
    assert_eq!(weak.body["errors"][1]["code"], "password_weak");
    let nobody = server.post("/v1/auth/login", form("a b", "password")).await;
    nobody.is(401, "login_failed");
}

#[tokio::test]
async fn every_bad_refresh_token_has_its_answer() {
    let server = Server::new().await;
    for body in [
        json!({}),
        json!({"refresh_token": null}),
        json!({"refresh_token": "x"}),
    ] {
        for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
            server
                .post(path, body.clone())
                .await
                .is(401, "refresh_invalid");
        }
    }
    let ill = json!({"refresh_token": 1});
    server
        .post("/v1/auth/refresh", ill)
        .await
        .is(422, "field_type");
    let bare = server.call(Method::POST, "/v1/auth/logout", &[], "").await;
    bare.is(401, "refresh_invalid");
}

#[tokio::test]
async fn a_cookie_session_demands_our_origin() {
    let server = Server::new().await;
    let registered = server.register("cookie").await;
    assert_eq!(registered.body.get("refresh_token"), None);
    let cookie = registered.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(cookie.contains("; Path=/v1/auth;"), "{cookie}");
    let (cookie, _) = cookie.split_once(';').unwrap();
    let with = async |path: &str, cookie: &str, origin: Option<&str>| {
        let mut headers = vec![(header::COOKIE, cookie)];
        headers.extend(origin.map(|origin| (header::ORIGIN, origin)));
        server.call(Method::POST, path, &headers, "").await
    };
    for origin in [None, Some("null"), Some("https://evil.example")] {
        for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
            with(path, cookie, origin).await.is(403, "origin_refused");
        }
    }
    let own = Some(server.url.as_str());
    let refreshed = with("/v1/auth/refresh", cookie, own).await;
    assert_eq!(refreshed.status, 200);
    assert_eq!(refreshed.body.get("refresh_token"), None);
    let cookie = refreshed.headers[header::SET_COOKIE].to_str().unwrap();
    let (cookie, _) = cookie.split_once(';').unwrap();
    let left = with("/v1/auth/logout", cookie, own).await;
    assert_eq!(left.status, 204);
    let forgotten = left.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(forgotten.starts_with("banter_refresh=; "), "{forgotten}");
    assert!(forgotten.contains("Max-Age=0"), "{forgotten}");
    with("/v1/auth/refresh", cookie, own)
        .await
        .is(401, "refresh_invalid");
}

#[tokio::test]
async fn throttled_and_closed_say_so() {
    let mut settings = Settings::default();
    settings.auth.registration = Registration::Closed;
    settings.limits.address_logins_per_minute = 1;
    let server = Server::with(settings).await;
    let closed = server
        .post("/v1/auth/register", form("ann", PASSWORD))
        .await;
    closed.is(403, "registration_closed");
    for _ in 0..5 {
        let failed = server.post("/v1/auth/login", form("ann", PASSWORD)).await;
        failed.is(401, "login_failed");
    }
    let throttled = server.post("/v1/auth/login", form("ANN", PASSWORD)).await;
    throttled.is(429, "login_throttled");
    assert_eq!(throttled.headers[header::RETRY_AFTER], "1");

    // The proxy on this machine vouches for a client elsewhere.
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (HeaderName::from_static("x-forwarded-for"), "192.0.2.1"),
    ];
    let body = form("bob", PASSWORD).to_string();
    let attempt = || server.call(Method::POST, "/v1/auth/login", &headers, &body);
    let mut answers = Vec::new();
    for _ in 0..32 {
        answers.push(attempt().await);
    }
    answers[31].is(429, "too_many_requests");
    answers[4].is(401, "login_failed");
}

#[tokio::test]
async fn keys_are_published() {
    let server = Server::new().await;
    let answer = server
        .call(Method::GET, "/.well-known/jwks.json", &[], "")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "max-age=300");
    let keys = answer.body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        for (name, value) in [
            ("kty", "OKP"),
            ("crv", "Ed25519"),
            ("alg", "EdDSA"),
            ("use", "sig"),
        ] {
            assert_eq!(key[name], value);
        }
        assert_eq!(key["kid"].as_str().unwrap().len(), 43);
        assert_eq!(key["x"].as_str().unwrap().len(), 43);
    }
}
