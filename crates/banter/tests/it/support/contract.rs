//! What the server's own documents promise, held against every answer and every frame.

use std::sync::OnceLock;

use serde_json::Value;

use super::http::{Answer, Connection, Request};
use super::schema::{self, Strict};

/// The OpenAPI and the AsyncAPI document of the program under test.
#[derive(Debug)]
pub(crate) struct Contract {
    http: Value,
    socket: Value,
}

/// Words that would give away the inside of a server.
const INSIDE: [&str; 7] = [
    "sqlite",
    "select ",
    "panicked",
    "banter.db",
    "eyj",
    ".rs:",
    "/tmp/",
];

impl Contract {
    /// Read once, from the first server of this run.
    pub(crate) fn of(connection: &mut Connection) -> &'static Self {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(|| Self {
            http: connection.call(&Request::get("/openapi.json")).ok(200),
            socket: connection.call(&Request::get("/asyncapi.json")).ok(200),
        })
    }

    /// Every operation of the OpenAPI document: method and path.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.http["paths"].as_object().expect("paths");
        let mut operations = Vec::new();
        for (path, item) in paths {
            for method in item.as_object().expect("a path item").keys() {
                operations.push((method.to_uppercase(), path.clone()));
            }
        }
        operations
    }

    /// The OpenAPI document.
    pub(crate) const fn http(&self) -> &Value {
        &self.http
    }

    /// The answer is one that the document promises.
    #[track_caller]
    pub(crate) fn check_answer(&self, request: &Request, answer: &Answer) {
        let what = format!(
            "{} {}: {} {}",
            request.method,
            request.path,
            answer.status,
            answer.text()
        );
        check_headers(answer, &what);
        if answer.status >= 400 {
            self.check_problem(answer, &what);
        }
        let Some(operation) = self.operation(request) else {
            return;
        };
        let promised = &operation["responses"];
        let status = answer.status.to_string();
        let class = format!("{}XX", answer.status / 100);
        let response = [&status, &class]
            .into_iter()
            .find_map(|status| promised.get(status));
        let response = response.unwrap_or_else(|| panic!("not in the document: {what}"));
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_empty(), "a body not in the document: {what}");
            return;
        };
        let media_type = answer.header("content-type").unwrap_or_default();
        let media = content.get(media_type);
        let media = media.unwrap_or_else(|| panic!("{media_type} not in the document: {what}"));
        let said = match media_type {
            "text/plain" => Value::String(answer.text()),
            _ => answer.json(),
        };
        let found = schema::validate(&self.http, &media["schema"], &said, Strict::Yes);
        found.unwrap_or_else(|why| panic!("{why}: {what}"));
    }

    /// The frame is one that the document describes.
    #[track_caller]
    pub(crate) fn check_frame(&self, frame: &Value) {
        let kind = frame["type"].as_str().expect("a type");
        let pointer = format!("/components/messages/{kind}/payload");
        let payload = self.socket.pointer(&pointer);
        let payload = payload.unwrap_or_else(|| panic!("not in the document: {frame}"));
        let found = schema::validate(&self.socket, payload, frame, Strict::Yes);
        found.unwrap_or_else(|why| panic!("{why}: {frame}"));
    }

    fn operation(&self, request: &Request) -> Option<&Value> {
        let paths = self.http["paths"].as_object()?;
        let exact = paths.get(request.route());
        let item = exact.or_else(|| {
            let mut fitting = paths.iter().filter(|(path, _)| fits(path, request.route()));
            fitting.next().map(|(_, item)| item)
        })?;
        item.get(request.method.to_lowercase())
    }

    #[track_caller]
    fn check_problem(&self, answer: &Answer, what: &str) {
        let media_type = answer.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"), "{what}");
        let problem = answer.json();
        let schema = &self.http["components"]["schemas"]["Problem"];
        let found = schema::validate(&self.http, schema, &problem, Strict::Yes);
        found.unwrap_or_else(|why| panic!("{why}: {what}"));
        assert_eq!(problem["status"], answer.status, "{what}");
        let errors = problem["errors"].as_array();
        if answer.status == 422 {
            assert_eq!(
                errors.and_then(|errors| errors[0].get("code")),
                Some(&problem["code"]),
                "{what}"
            );
        }
        let text = answer.text().to_lowercase();
        for word in INSIDE {
            assert!(!text.contains(word), "{word} in {what}");
        }
    }
}

/// Whether a path is one of a template such as `/v1/channels/{id}`.
fn fits(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(_)) if part.starts_with('{') => {}
            (Some(part), Some(given)) if part == given => {}
            _ => return false,
        }
    }
}

/// Headers that go with a status.
#[track_caller]
fn check_headers(answer: &Answer, what: &str) {
    let seconds = |value: &str| value.parse::<u64>().is_ok_and(|seconds| seconds >= 1);
    match answer.status {
        401 => assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}"),
        405 => assert!(
            answer.header("allow").is_some_and(|a| !a.is_empty()),
            "{what}"
        ),
        429 | 503 => assert!(answer.header("retry-after").is_some_and(seconds), "{what}"),
        _ => {}
    }
}
