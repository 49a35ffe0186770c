//! A user's calls to a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use banter_protocol::entry::Level;
use banter_protocol::error::Code;
use banter_protocol::id::{ChannelId, Epoch, MessageId, Position, Seq, UserId, WebhookId};
use banter_protocol::time::Timestamp;
use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::connection::{self, Events, Handle};
use crate::error::Error;
use crate::frame::{Entry, User};
use crate::http::{Call, Http, escape};
use crate::session::{Session, Tokens, sign_in};
use crate::store::Store;

/// A channel, as its members see it.
#[derive(Debug, Clone, Deserialize)]
pub struct Channel {
    /// Its identifier.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// What it is about; may be empty.
    pub topic: String,
    /// Whether only those who were added are members.
    pub private: bool,
    /// The owner's username; none where everybody left.
    pub owner: Option<String>,
    /// Number of its last entry.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// Whether the caller is a member.
    pub joined: bool,
}

impl Channel {
    /// The position of one who has applied every entry up to `seq`.
    #[must_use]
    pub const fn at(&self, seq: Seq) -> Position {
        Position {
            seq,
            epoch: self.epoch,
        }
    }
}

/// A member of a channel.
#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    /// The account.
    pub id: UserId,
    /// Its name.
    pub username: String,
    /// `owner` or `member`.
    pub role: String,
}

/// An incoming webhook of a channel.
#[derive(Debug, Clone, Deserialize)]
pub struct Webhook {
    /// Its identifier.
    pub id: WebhookId,
    /// The username that it posts under.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A webhook that was just made.
#[derive(Clone, Deserialize)]
pub struct MadeWebhook {
    /// Where it takes messages; holds the secret.
    pub url: String,
}

/// Where a membership begins.
#[derive(Debug, Clone, Deserialize)]
pub struct Subscription {
    /// The channel.
    pub channel: ChannelId,
    /// Number of the join.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
}

/// The answer to a message sent over HTTP.
#[derive(Debug, Clone, Deserialize)]
pub struct Receipt {
    /// The channel.
    pub channel: ChannelId,
    /// Its number.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// The author's own id for it.
    pub id: MessageId,
    /// When the server took it.
    pub sent_at: Timestamp,
    /// How safe it is.
    pub level: Level,
}

/// A page of a channel's history, ascending.
#[derive(Debug, Clone)]
pub struct History {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are entries before them.
    pub has_older: bool,
    /// Whether there are entries after them.
    pub has_newer: bool,
    /// Whether everything could be read.
    pub complete: bool,
}

/// Which page of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The newest one.
    Newest,
    /// The newest entries below this number.
    Before(Seq),
    /// The oldest entries above this number.
    After(Seq),
    /// The entries on both sides of this number.
    Around(Seq),
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Items {
    items: Vec<Box<RawValue>>,
    has_older: bool,
    has_newer: bool,
    #[serde(default = "yes")]
    complete: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct NewChannel<'a> {
    name: &'a str,
    private: bool,
}

#[derive(Serialize)]
struct NewWebhook<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct NewMessage<'a> {
    body: &'a str,
}

/// A logged-in user of a server. Clones share the session.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: Arc<Http>,
    pub(crate) session: Arc<Session>,
}

impl Client {
    /// Logs in to the server at this address.
    ///
    /// # Errors
    /// The address is none, nobody answers, or the server refuses ([`Code::LoginFailed`]).
    pub async fn login(server: &str, user: &str, password: &str) -> Result<Self, Error> {
        Self::sign_in(server, "/v1/auth/login", user, password).await
    }

    /// Makes an account and logs in to it.
    ///
    /// # Errors
    /// As [`Client::login`]; also [`Code::UsernameTaken`], [`Code::RegistrationClosed`] and others.
    pub async fn register(server: &str, user: &str, password: &str) -> Result<Self, Error> {
        Self::sign_in(server, "/v1/auth/register", user, password).await
    }

    async fn sign_in(server: &str, path: &str, user: &str, password: &str) -> Result<Self, Error> {
        let http = Http::new(server)?;
        let tokens = sign_in(&http, path, user, password).await?;
        Ok(Self {
            http: Arc::new(http),
            session: Arc::new(Session::new(tokens)),
        })
    }

    /// Goes on with tokens of an earlier login. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// The address is none.
    pub fn with_tokens(server: &str, tokens: Tokens) -> Result<Self, Error> {
        Ok(Self {
            http: Arc::new(Http::new(server)?),
            session: Arc::new(Session::new(tokens)),
        })
    }

    /// Goes on with a kept session, which stays kept as it is renewed; `None` where there is none.
    ///
    /// # Errors
    /// The address is none, or the file cannot be read.
    pub fn kept(server: &str, store: Store) -> Result<Option<Self>, Error> {
        let http = Http::new(server)?;
        Ok(store.read()?.map(|tokens| Self {
            http: Arc::new(http),
            session: Arc::new(Session::kept(tokens, store)),
        }))
    }

    /// From now on keeps the session there.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn keep(&self, store: Store) -> Result<(), Error> {
        self.session.keep(store).await
    }

    /// Ends the session, here and on the server.
    ///
    /// # Errors
    /// Nobody answers, or the session has ended before.
    pub async fn logout(&self) -> Result<(), Error> {
        self.session.end(&self.http).await
    }

    /// The server's address.
    #[must_use]
    pub fn server(&self) -> &str {
        self.http.server()
    }

    /// Whose session this is.
    pub async fn user(&self) -> User {
        self.session.user().await
    }

    /// An access token that lasts for a while yet.
    ///
    /// # Errors
    /// It had to be renewed, and the server did not.
    pub async fn token(&self) -> Result<String, Error> {
        let (http, session) = (self.http.clone(), self.session.clone());
        self.whole(async move { session.token(&http).await }).await
    }

    /// An access token newer than `stale`.
    pub(crate) async fn renewed(&self, stale: &str) -> Result<String, Error> {
        let (http, session, stale) = (self.http.clone(), self.session.clone(), stale.to_owned());
        self.whole(async move { session.renewed(&http, &stale).await })
            .await
    }

    /// Does it to its end, even if the caller gives up: a refresh whose answer is lost can cost the
    /// session.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let done = tokio::spawn(work).await;
        done.unwrap_or_else(|e| Err(self.http.unreachable(e.to_string())))
    }

    /// Asks the server whose session this is: the way to find out whether it still stands.
    ///
    /// # Errors
    /// Nobody answers, or the session has ended.
    pub async fn me(&self) -> Result<User, Error> {
        self.get("/v1/me").await
    }

    /// The channels with exactly this name: the public one and private ones of the user.
    ///
    /// # Errors
    /// As every call: nobody answers, or the server refuses.
    pub async fn find_channels(&self, name: &str) -> Result<Vec<Channel>, Error> {
        self.all(&format!("/v1/channels?name={}", escape(name)))
            .await
    }

    /// A channel by its identifier.
    ///
    /// # Errors
    /// As every call; also [`Code::ChannelNotFound`].
    pub async fn channel(&self, id: ChannelId) -> Result<Channel, Error> {
        self.get(&format!("/v1/channels/{id}")).await
    }

    /// All channels that the user can see, or those where the user is a member.
    ///
    /// # Errors
    /// As every call.
    pub async fn channels(&self, joined: bool) -> Result<Vec<Channel>, Error> {
        let filter = if joined { "joined=true&" } else { "" };
        self.all(&format!("/v1/channels?{filter}limit=200")).await
    }

    /// Makes a channel; the user owns it and is a member.
    ///
    /// # Errors
    /// As every call; also [`Code::NameTaken`] and others.
    pub async fn create_channel(&self, name: &str, private: bool) -> Result<Channel, Error> {
        let body = json(&NewChannel { name, private });
        let answer = self.ask(Method::POST, "/v1/channels", None, body).await?;
        self.http.read(&answer)
    }

    /// Becomes a member; the same answer when the user is one.
    ///
    /// # Errors
    /// As every call; also [`Code::ChannelNotFound`], [`Code::Barred`].
    pub async fn join(&self, channel: ChannelId) -> Result<Subscription, Error> {
        let path = format!("/v1/channels/{channel}/subscription");
        let answer = self.ask(Method::PUT, &path, None, None).await?;
        self.http.read(&answer)
    }

    /// Ends the membership.
    ///
    /// # Errors
    /// As every call.
    pub async fn leave(&self, channel: ChannelId) -> Result<(), Error> {
        let path = format!("/v1/channels/{channel}/subscription");
        self.ask(Method::DELETE, &path, None, None).await.map(drop)
    }

    /// All members of a channel.
    ///
    /// # Errors
    /// As every call.
    pub async fn members(&self, channel: ChannelId) -> Result<Vec<Member>, Error> {
        self.all(&format!("/v1/channels/{channel}/members?limit=200"))
            .await
    }

    /// Adds a user to a channel.
    ///
    /// # Errors
    /// As every call; also [`Code::UserNotFound`], [`Code::NotOwner`].
    pub async fn add_member(&self, channel: ChannelId, user: &str) -> Result<(), Error> {
        let path = format!("/v1/channels/{channel}/members/{}", escape(user));
        self.ask(Method::PUT, &path, None, None).await.map(drop)
    }

    /// All webhooks of a channel that the user owns.
    ///
    /// # Errors
    /// As every call; also [`Code::NotOwner`].
    pub async fn webhooks(&self, channel: ChannelId) -> Result<Vec<Webhook>, Error> {
        self.all(&format!("/v1/channels/{channel}/webhooks?limit=200"))
            .await
    }

    /// Makes a webhook for a channel that the user owns.
    ///
    /// # Errors
    /// As every call; also [`Code::NotOwner`], [`Code::UsernameTaken`] and others.
    pub async fn create_webhook(
        &self,
        channel: ChannelId,
        name: &str,
    ) -> Result<MadeWebhook, Error> {
        let path = format!("/v1/channels/{channel}/webhooks");
        let body = json(&NewWebhook { name });
        let answer = self.ask(Method::POST, &path, None, body).await?;
        self.http.read(&answer)
    }

    /// Deletes a webhook.
    ///
    /// # Errors
    /// As every call; also [`Code::NotOwner`], [`Code::WebhookNotFound`].
    pub async fn delete_webhook(&self, channel: ChannelId, id: WebhookId) -> Result<(), Error> {
        let path = format!("/v1/channels/{channel}/webhooks/{id}");
        self.ask(Method::DELETE, &path, None, None).await.map(drop)
    }

    /// A page of history, of at most 200 entries.
    ///
    /// # Errors
    /// As every call; also [`Code::NotAMember`].
    pub async fn history(
        &self,
        channel: ChannelId,
        span: Span,
        limit: u32,
    ) -> Result<History, Error> {
        let span = match span {
            Span::Newest => String::new(),
            Span::Before(seq) => format!("before={seq}&"),
            Span::After(seq) => format!("after={seq}&"),
            Span::Around(seq) => format!("around={seq}&"),
        };
        let path = format!("/v1/channels/{channel}/history?{span}limit={limit}");
        let page: Items = self.get(&path).await?;
        let entries = page.items.iter().map(|item| Entry::parse(item.get()));
        let entries: Result<Vec<Entry>, _> = entries.collect();
        Ok(History {
            entries: entries.map_err(|e| self.http.foreign(e.to_string()))?,
            has_older: page.has_older,
            has_newer: page.has_newer,
            complete: page.complete,
        })
    }

    /// Sends one message over HTTP. With the same id it may be tried again: it is stored once.
    ///
    /// # Errors
    /// As every call; also [`Code::NotAMember`], [`Code::SlowDown`].
    pub async fn post(
        &self,
        channel: ChannelId,
        id: &MessageId,
        body: &str,
    ) -> Result<Receipt, Error> {
        let path = format!("/v1/channels/{channel}/messages");
        let body = json(&NewMessage { body });
        let answer = self.ask(Method::POST, &path, Some(id.as_str()), body);
        self.http.read(&answer.await?)
    }

    /// Opens a connection that lasts: it comes back by itself and misses nothing. In the channels
    /// named it goes on after these positions, in the user's others from their heads.
    #[must_use]
    pub fn connect(&self, positions: BTreeMap<ChannelId, Position>) -> (Handle, Events) {
        connection::open(self.clone(), positions)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.http
            .read(&self.ask(Method::GET, path, None, None).await?)
    }

    /// Follows a list to its end.
    async fn all<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Error> {
        let mut page: List<T> = self.get(path).await?;
        let mut items = page.items;
        while let Some(cursor) = page.next {
            page = self
                .get(&format!("{path}&cursor={}", escape(&cursor)))
                .await?;
            items.append(&mut page.items);
        }
        Ok(items)
    }

    /// Calls with a token, and once more with a new one when the server finds it bad.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, Error> {
        let call = |token| Call {
            method: method.clone(),
            path,
            token: Some(token),
            key,
            body: body.clone(),
        };
        let token = self.token().await?;
        match self.http.call(call(&token)).await {
            Err(e) if e.is(Code::TokenExpired) || e.is(Code::TokenInvalid) => {
                let token = self.renewed(&token).await?;
                self.http.call(call(&token)).await
            }
            answer => answer,
        }
    }
}

fn json(body: &impl Serialize) -> Option<Vec<u8>> {
    // Writing our own types to memory cannot fail: no maps with odd keys, no I/O.
    Some(serde_json::to_vec(body).unwrap_or_default())
}
