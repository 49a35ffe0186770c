//! Registering, logging in, refreshing, logging out.

use std::net::IpAddr;
use std::time::Duration;

use banter_protocol::error::Code;
use banter_protocol::id::{SessionId, UserId};
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use banter_storage::accounts::{Account, NewAccount};
use banter_storage::sessions::{Generation, NewSession, Refreshed, Seed};
use uuid::Uuid;

use super::password::{self, Overloaded};
use super::refresh::Presented;
use super::throttle::Held;
use super::{Login, StartError};
use crate::settings::Registration;

/// When to try again after too many passwords waited.
const OVERLOADED: Duration = Duration::from_secs(1);

/// Why one of them was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// For this reason.
    #[error("{0}")]
    Code(Code),
    /// These fields cannot be used.
    #[error("{0:?}")]
    Fields(Vec<(&'static str, Code)>),
    /// For this reason, and for so long.
    #[error("{0} for {1:?}")]
    Until(Code, Duration),
    /// Storage fails.
    #[error(transparent)]
    Storage(#[from] banter_storage::Error),
    /// Something that does not happen.
    #[error("{0}")]
    Internal(String),
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
}

impl From<Overloaded> for Refusal {
    fn from(_: Overloaded) -> Self {
        Self::Until(Code::Overloaded, OVERLOADED)
    }
}

/// The tokens of a session.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Whose.
    pub account: Account,
    /// Good for a few minutes, everywhere.
    pub access_token: String,
    /// Seconds that it is good.
    pub expires_in: u64,
    /// Good once, to get the next two.
    pub refresh_token: String,
}

impl Login {
    /// Makes an account and its first session. `address`: whose limit counts; `None`: nobody's.
    ///
    /// # Errors
    /// The refusal.
    pub async fn register(
        &self,
        username: &str,
        password: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        if self.registration == Registration::Closed {
            return Err(Code::RegistrationClosed.into());
        }
        let checked = (Username::parse(username), password::check(password));
        let username = match checked {
            (Ok(username), Ok(())) => username,
            (username, password) => {
                let fields = [("username", username.err()), ("password", password.err())];
                let refused = fields
                    .into_iter()
                    .filter_map(|(name, code)| Some((name, code?)));
                return Err(Refusal::Fields(refused.collect()));
            }
        };
        self.spend(address, now)?;
        if self.stores.accounts.by_username(&username).await?.is_some() {
            return Err(Code::UsernameTaken.into());
        }
        let account = NewAccount {
            id: UserId::from_uuid(Uuid::now_v7()),
            username,
            password: self.hasher.hash(password).await?,
            created_at: now,
        };
        let session = new_session(account.id, now)?;
        if !self
            .stores
            .accounts
            .create(&account, Some(&session))
            .await?
        {
            return Err(Code::UsernameTaken.into());
        }
        let account = Account {
            id: account.id,
            username: account.username,
            created_at: account.created_at,
            disabled: false,
        };
        self.issue(account, session.id, &session.seed, 1, now)
    }

    /// Begins a session. That there is no such account, that the password is wrong and that the
    /// account is disabled cost the same work and get the same answer.
    ///
    /// # Errors
    /// The refusal.
    pub async fn log_in(
        &self,
        username: &str,
        password: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        self.spend(address, now)?;
        let attempt = match self.guesses.admit(username, now).await {
            Ok(attempt) => attempt,
            Err(Held::Storage(error)) => {
                self.metrics.login("unavailable");
                return Err(error.into());
            }
            Err(Held::For(wait)) => {
                self.metrics.throttled("account");
                self.metrics.login("throttled");
                return Err(Refusal::Until(Code::LoginThrottled, wait));
            }
        };
        let answer = self.try_password(username, password, now).await;
        let told = match &answer {
            Ok(_) => attempt.succeeded().await,
            Err(Refusal::Code(Code::LoginFailed)) => {
                attempt.failed();
                Ok(())
            }
            Err(_) => attempt.void().await,
        };
        if let Err(error) = told {
            tracing::warn!(%error, "a login counts as failed that did not");
        }
        self.metrics.login(match &answer {
            Ok(_) => "succeeded",
            Err(Refusal::Code(Code::LoginFailed)) => "failed",
            Err(Refusal::Until(..)) => "overloaded",
            Err(_) => "unavailable",
        });
        answer
    }

    async fn try_password(
        &self,
        username: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        let found = match Username::parse(username) {
            Ok(username) => self.stores.accounts.credentials(&username).await?,
            Err(_) => None,
        };
        let stored = found.as_ref().map(|found| found.password.as_str());
        let verified = self.hasher.verify(password, stored).await?;
        let usable = found.filter(|found| verified.matches && !found.account.disabled);
        if let Some(found) = usable {
            if let Some(rehashed) = verified.rehashed {
                let (id, old) = (found.account.id, &found.password);
                if let Err(error) = self.stores.accounts.rehash(id, old, &rehashed).await {
                    tracing::warn!(%error, "a password's dearer hash was not stored");
                }
            }
            let session = new_session(found.account.id, now)?;
            if self.stores.sessions.begin(&session).await? {
                return self.issue(found.account, session.id, &session.seed, 1, now);
            }
        }
        Err(Code::LoginFailed.into())
    }

    /// Takes a refresh token for new tokens.
    ///
    /// # Errors
    /// The refusal.
    pub async fn refresh(&self, token: &str, now: Timestamp) -> Result<Issued, Refusal> {
        let (presented, seed) = self.genuine(token).await.inspect_err(|refusal| {
            self.metrics.refresh(match refusal {
                Refusal::Storage(_) => "unavailable",
                _ => "invalid",
            });
        })?;
        let Presented {
            session,
            generation,
            ..
        } = presented;
        let sessions = &self.stores.sessions;
        match sessions
            .refresh(session, generation, now, &self.lifetimes)
            .await
        {
            Ok(Refreshed::Successor {
                generation,
                account,
                repeated,
            }) => {
                let outcome = if repeated { "repeated" } else { "rotated" };
                self.metrics.refresh(outcome);
                self.issue(account, session, &seed, generation, now)
            }
            Ok(Refreshed::Reused) => {
                self.metrics.refresh("reused");
                tracing::warn!(%session, "an old refresh token was used: its session is ended");
                self.catch_up().await;
                Err(Code::RefreshInvalid.into())
            }
            Ok(Refreshed::Over) => {
                self.metrics.refresh("over");
                Err(Code::RefreshInvalid.into())
            }
            Err(error) => {
                self.metrics.refresh("unavailable");
                Err(error.into())
            }
        }
    }

    /// Ends the session of a refresh token: when this returns, no token of it is good here.
    ///
    /// # Errors
    /// The refusal.
    pub async fn log_out(&self, token: &str, now: Timestamp) -> Result<(), Refusal> {
        let (presented, _) = self.genuine(token).await?;
        let Presented {
            session,
            generation,
            ..
        } = presented;
        let sessions = &self.stores.sessions;
        let ended = sessions
            .end(session, generation, now, &self.lifetimes)
            .await?;
        self.catch_up().await;
        if ended {
            return Ok(());
        }
        Err(Code::RefreshInvalid.into())
    }

    /// The claims of a refresh token that was made here, and its session's seed.
    async fn genuine(&self, token: &str) -> Result<(Presented, Seed), Refusal> {
        let presented = Presented::parse(token).ok_or(Code::RefreshInvalid)?;
        let seed = self.stores.sessions.seed(presented.session).await?;
        let seed = seed.ok_or(Code::RefreshInvalid)?;
        if !self.refresh_tokens.is_genuine(&presented, &seed) {
            return Err(Code::RefreshInvalid.into());
        }
        Ok((presented, seed))
    }

    fn issue(
        &self,
        account: Account,
        session: SessionId,
        seed: &Seed,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        let (keys, now_ms) = (self.keys.load(), now.as_ms());
        let tokens = self.verifier.tokens();
        let signed = tokens.sign(&keys, account.id, &account.username, session, now_ms);
        Ok(Issued {
            access_token: signed.map_err(|error| Refusal::Internal(error.to_string()))?,
            expires_in: tokens.ttl().as_secs(),
            refresh_token: self.refresh_tokens.token(session, seed, generation),
            account,
        })
    }

    fn spend(&self, address: Option<IpAddr>, now: Timestamp) -> Result<(), Refusal> {
        let Some(address) = address else {
            return Ok(());
        };
        self.addresses.take(address, now.as_ms()).map_err(|wait| {
            self.metrics.throttled("address");
            Refusal::Until(Code::TooManyRequests, wait)
        })
    }
}

fn new_session(user: UserId, now: Timestamp) -> Result<NewSession, Refusal> {
    let mut seed = Seed::default();
    getrandom::fill(&mut seed)
        .map_err(|error| Refusal::Internal(StartError::from(error).to_string()))?;
    Ok(NewSession {
        id: SessionId::from_uuid(Uuid::now_v7()),
        user,
        seed,
        created_at: now,
    })
}
