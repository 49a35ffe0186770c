//! Somebody who uses the chat.

use serde_json::{Value, json};

use super::fixture::Site;
use super::http::{Answer, Request};
use super::socket::Socket;

/// An account with a session.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) site: Site,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

impl Person {
    #[track_caller]
    pub(crate) fn register(site: Site, username: &str) -> Self {
        Self::from(site, &site.enter("register", username).ok(201))
    }

    /// Another session of an account.
    #[track_caller]
    pub(crate) fn log_in(site: Site, username: &str) -> Self {
        Self::from(site, &site.enter("login", username).ok(200))
    }

    /// Whoever got these tokens.
    #[track_caller]
    pub(crate) fn from(site: Site, tokens: &Value) -> Self {
        Self {
            site,
            name: text(&tokens["user"]["username"]),
            id: text(&tokens["user"]["id"]),
            token: text(&tokens["access_token"]),
            refresh_token: tokens["refresh_token"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn call(&self, request: Request) -> Answer {
        self.site.call(&request.bearer(&self.token))
    }

    /// Takes the refresh token for new tokens.
    #[track_caller]
    pub(crate) fn refresh(&mut self) -> Answer {
        let request = Request::post("/v1/auth/refresh");
        let answer = self
            .site
            .call(&request.json(&json!({"refresh_token": self.refresh_token})));
        if answer.status == 200 {
            *self = Self::from(self.site, &answer.json());
        }
        answer
    }

    #[track_caller]
    pub(crate) fn log_out(&self) -> Answer {
        let request = Request::post("/v1/auth/logout");
        self.site
            .call(&request.json(&json!({"refresh_token": self.refresh_token})))
    }

    /// Makes a public channel; gives its id.
    #[track_caller]
    pub(crate) fn create(&self, name: &str) -> String {
        self.create_with(&json!({"name": name}))
    }

    /// Makes a private channel; gives its id.
    #[track_caller]
    pub(crate) fn create_private(&self, name: &str) -> String {
        self.create_with(&json!({"name": name, "private": true}))
    }

    #[track_caller]
    fn create_with(&self, form: &Value) -> String {
        text(&self.call(Request::post("/v1/channels").json(form)).ok(201)["id"])
    }

    /// Joins; gives the position of the `joined` entry.
    #[track_caller]
    pub(crate) fn join(&self, channel: &str) -> Value {
        self.try_join(channel).ok(200)
    }

    #[track_caller]
    pub(crate) fn try_join(&self, channel: &str) -> Answer {
        self.call(Request::put(format!("/v1/channels/{channel}/subscription")))
    }

    #[track_caller]
    pub(crate) fn leave(&self, channel: &str) {
        self.call(Request::delete(format!(
            "/v1/channels/{channel}/subscription"
        )))
        .ok(204);
    }

    #[track_caller]
    pub(crate) fn add(&self, channel: &str, username: &str) -> Answer {
        self.call(Request::put(format!(
            "/v1/channels/{channel}/members/{username}"
        )))
    }

    #[track_caller]
    pub(crate) fn remove(&self, channel: &str, username: &str) -> Answer {
        self.call(Request::delete(format!(
            "/v1/channels/{channel}/members/{username}"
        )))
    }

    /// Sends a message over HTTP.
    #[track_caller]
    pub(crate) fn post(&self, channel: &str, id: &str, body: &str) -> Answer {
        let request = Request::post(format!("/v1/channels/{channel}/messages"));
        self.call(
            request
                .header("Idempotency-Key", id)
                .json(&json!({"body": body})),
        )
    }

    /// A page of history.
    #[track_caller]
    pub(crate) fn page(&self, channel: &str, query: &str) -> Value {
        let path = format!("/v1/channels/{channel}/history?{query}");
        self.call(Request::get(path)).ok(200)
    }

    /// The whole history, page by page from the beginning.
    #[track_caller]
    pub(crate) fn history(&self, channel: &str) -> Vec<Value> {
        self.history_after(channel, 0)
    }

    /// The history above a number.
    #[track_caller]
    pub(crate) fn history_after(&self, channel: &str, seq: u64) -> Vec<Value> {
        let (mut entries, mut after) = (Vec::new(), seq);
        loop {
            let mut page = self.page(channel, &format!("after={after}&limit=200"));
            let Value::Array(items) = page["items"].take() else {
                panic!("no items: {page}");
            };
            entries.extend(items);
            after = entries.last().map_or(after, |entry: &Value| {
                entry["seq"].as_u64().expect("a number")
            });
            if page["has_newer"] == false {
                return entries;
            }
        }
    }

    /// Opens a socket and is welcome; live from the heads.
    #[track_caller]
    pub(crate) fn connect(&self) -> Socket {
        self.resume(&Value::Null).0
    }

    /// Opens a socket with these positions; gives the `welcome` too.
    #[track_caller]
    pub(crate) fn resume(&self, positions: &Value) -> (Socket, Value) {
        let mut socket = Socket::open(self.site.address, self.site.contract);
        socket.hello(&self.token, positions);
        let welcome = socket.expect("welcome");
        assert_eq!(welcome["user"]["username"], self.name.as_str());
        (socket, welcome)
    }
}
