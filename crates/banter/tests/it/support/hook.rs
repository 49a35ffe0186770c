//! An incoming webhook, as the program that has its URL uses it.

use serde_json::{Value, json};

use super::fixture::Site;
use super::http::{Answer, Request};
use super::person::Person;

/// A webhook that somebody has made.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    site: Site,
    pub(crate) id: String,
    pub(crate) url: String,
}

impl Hook {
    /// Makes one; the answer that makes it.
    #[track_caller]
    pub(crate) fn try_make(owner: &Person, channel: &str, name: &str) -> Answer {
        let path = format!("/v1/channels/{channel}/webhooks");
        owner.call(Request::post(path).json(&json!({"name": name})))
    }

    /// Makes one.
    #[track_caller]
    pub(crate) fn make(owner: &Person, channel: &str, name: &str) -> Self {
        let made = Self::try_make(owner, channel, name).ok(201);
        assert_eq!(made["name"], name);
        let text = |field: &str| made[field].as_str().expect("a text").to_owned();
        Self {
            site: owner.site,
            id: text("id"),
            url: text("url"),
        }
    }

    /// The webhooks of a channel, as its owner sees them.
    #[track_caller]
    pub(crate) fn list(owner: &Person, channel: &str) -> Vec<Value> {
        let path = format!("/v1/channels/{channel}/webhooks");
        let mut list = owner.call(Request::get(path)).ok(200);
        serde_json::from_value(list["items"].take()).expect("a list")
    }

    /// Deletes it.
    #[track_caller]
    pub(crate) fn delete(&self, owner: &Person, channel: &str) -> Answer {
        let path = format!("/v1/channels/{channel}/webhooks/{}", self.id);
        owner.call(Request::delete(path))
    }

    /// The path of its URL.
    pub(crate) fn path(&self) -> &str {
        &self.url[self.url.find("/v1/webhooks/").expect("such a path")..]
    }

    pub(crate) fn secret(&self) -> &str {
        self.url.rsplit('/').next().expect("a secret")
    }

    /// A request with this payload.
    pub(crate) fn request(&self, payload: &Value) -> Request {
        Request::post(self.path()).json(payload)
    }

    /// Posts a payload.
    #[track_caller]
    pub(crate) fn post(&self, payload: &Value) -> Answer {
        self.site.call(&self.request(payload))
    }

    /// Posts a message that is taken.
    #[track_caller]
    pub(crate) fn say(&self, text: &str) {
        let answer = self.post(&json!({"text": text}));
        assert_eq!((answer.status, &*answer.text()), (201, "ok"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
    }
}
