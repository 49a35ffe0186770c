//! The tokens of one login, and how they are renewed.

use std::fmt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use banter_protocol::error::Code;
use hyper::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::error::Error;
use crate::frame::User;
use crate::http::{Call, Http};
use crate::store::Store;

/// A token that ends sooner, or within a fifth of its life, is renewed before it is used.
const FRESH_MS: i64 = 20_000;

/// What a login gives, and what is kept of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Whose.
    pub user: User,
    /// For calls and sockets.
    pub access_token: String,
    /// For the next pair of tokens, once.
    pub refresh_token: String,
    /// When it was asked for, by this machine's clock: milliseconds since 1970.
    pub asked_ms: i64,
    /// When the access token ends, likewise.
    pub expires_ms: i64,
}

impl fmt::Debug for Tokens {
    /// Without the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    fn is_fresh(&self) -> bool {
        let life = self.expires_ms.saturating_sub(self.asked_ms);
        let now = now_ms();
        // A clock that was set back says nothing about the token's age.
        now >= self.asked_ms && self.expires_ms.saturating_sub(now) > FRESH_MS.min(life / 5)
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
    user: User,
}

#[derive(Serialize)]
struct Credentials<'a> {
    username: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct Refresh<'a> {
    refresh_token: &'a str,
}

/// Logs in or registers, as `path` says.
pub(crate) async fn sign_in(
    http: &Http,
    path: &str,
    username: &str,
    password: &str,
) -> Result<Tokens, Error> {
    ask(http, path, &Credentials { username, password }).await
}

async fn ask(http: &Http, path: &str, body: &impl Serialize) -> Result<Tokens, Error> {
    let asked_ms = now_ms();
    let body = http.call(post(path, body)).await?;
    let answer: Answer = http.read(&body)?;
    Ok(Tokens {
        user: answer.user,
        access_token: answer.access_token,
        refresh_token: answer.refresh_token,
        asked_ms,
        expires_ms: asked_ms.saturating_add(answer.expires_in.saturating_mul(1000)),
    })
}

fn post<'a>(path: &'a str, body: &impl Serialize) -> Call<'a> {
    Call {
        method: Method::POST,
        path,
        token: None,
        key: None,
        // Writing our own types to memory cannot fail.
        body: Some(serde_json::to_vec(body).unwrap_or_default()),
    }
}

/// A login in use, by any number of sockets and calls at once.
#[derive(Debug)]
pub(crate) struct Session {
    tokens: Mutex<Tokens>,
    store: OnceLock<Store>,
}

impl Session {
    pub(crate) fn new(tokens: Tokens) -> Self {
        Self {
            tokens: Mutex::new(tokens),
            store: OnceLock::new(),
        }
    }

    /// From now on the tokens are kept there.
    pub(crate) async fn keep(&self, store: Store) -> Result<(), Error> {
        let tokens = self.tokens.lock().await;
        let locked = store.lock().await?;
        store.write(&tokens)?;
        drop(locked);
        // A second store would have no use; the first one stays.
        let _ = self.store.set(store);
        Ok(())
    }

    /// Takes tokens that are kept there already.
    pub(crate) fn kept(tokens: Tokens, store: Store) -> Self {
        Self {
            tokens: Mutex::new(tokens),
            store: OnceLock::from(store),
        }
    }

    pub(crate) async fn user(&self) -> User {
        self.tokens.lock().await.user.clone()
    }

    /// An access token that lasts for a while yet.
    pub(crate) async fn token(&self, http: &Http) -> Result<String, Error> {
        let mut tokens = self.tokens.lock().await;
        if !tokens.is_fresh() {
            self.refresh(http, &mut tokens).await?;
        }
        Ok(tokens.access_token.clone())
    }

    /// An access token newer than `stale`.
    pub(crate) async fn renewed(&self, http: &Http, stale: &str) -> Result<String, Error> {
        let mut tokens = self.tokens.lock().await;
        if tokens.access_token == stale {
            self.refresh(http, &mut tokens).await?;
        }
        Ok(tokens.access_token.clone())
    }

    /// Renews the tokens. A refresh token is used once only, so processes that share a store take
    /// turns, and take over what another one got meanwhile.
    async fn refresh(&self, http: &Http, tokens: &mut Tokens) -> Result<(), Error> {
        let Some(store) = self.store.get() else {
            *tokens = exchange(http, tokens).await?;
            return Ok(());
        };
        let _turn = store.lock().await?;
        if let Some(kept) = store.read()?
            && kept.user == tokens.user
            && kept.refresh_token != tokens.refresh_token
        {
            *tokens = kept;
            if tokens.is_fresh() {
                return Ok(());
            }
        }
        match exchange(http, tokens).await {
            Ok(renewed) => {
                *tokens = renewed;
                store.write(tokens)
            }
            Err(Error::SessionEnded) => {
                store.remove()?;
                Err(Error::SessionEnded)
            }
            Err(e) => Err(e),
        }
    }

    /// Ends the session here and on the server.
    pub(crate) async fn end(&self, http: &Http) -> Result<(), Error> {
        let tokens = self.tokens.lock().await;
        let refresh_token = &tokens.refresh_token;
        let ended = http
            .call(post("/v1/auth/logout", &Refresh { refresh_token }))
            .await;
        if let Some(store) = self.store.get() {
            store.remove()?;
        }
        ended.map(|_| ())
    }
}

/// The next pair of tokens. When the answer is lost on its way, the server gives the same one for
/// a few seconds: one more try at once.
async fn exchange(http: &Http, tokens: &Tokens) -> Result<Tokens, Error> {
    let refresh_token = &tokens.refresh_token;
    let body = Refresh { refresh_token };
    let first = ask(http, "/v1/auth/refresh", &body).await;
    let answer = match first {
        Err(Error::Unreachable { .. }) => ask(http, "/v1/auth/refresh", &body).await,
        other => other,
    };
    answer.map_err(|e| {
        if e.is(Code::RefreshInvalid) {
            Error::SessionEnded
        } else {
            e
        }
    })
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
