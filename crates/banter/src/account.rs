//! Whose session the commands of a client use, and how they get it.

use std::io::{IsTerminal as _, stderr, stdin};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use banter_client::backoff::Backoff;
use banter_client::store::Store;
use banter_client::{Client, Error};
use banter_protocol::error::Code;
use banter_protocol::text::Username;
use clap::Args;
use zeroize::Zeroizing;

use crate::display::visible;
use crate::usage::Wrong;

/// How long a command that has begun bears with a server that is away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which account on which server.
#[derive(Debug, Args)]
pub(crate) struct Account {
    /// Address of the server
    #[arg(
        long,
        env = "BANTER_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// Account to use; its password is asked for once, then the session is kept
    #[arg(long, env = "BANTER_USER", value_name = "NAME")]
    user: Option<String>,
}

impl Account {
    /// The kept session, or a new one: with `BANTER_PASSWORD`, else by asking in the terminal.
    pub(crate) async fn sign_in(&self) -> Result<Client> {
        let user = self.username()?;
        let store = Store::directory().map(|state| Store::of(&state, &self.server, user.as_str()));
        if let Some(store) = &store
            && let Some(client) = self.kept(store).await?
        {
            return Ok(client);
        }
        let client = self.log_in(&user).await?;
        let kept = match store {
            Some(store) => client.keep(store).await,
            None => return Ok(client),
        };
        if let Err(e) = kept {
            eprintln!("banter: the session is not kept: {e}");
        }
        Ok(client)
    }

    /// Folded; the one of the only kept session where none is given.
    fn username(&self) -> Result<Username> {
        let name = match &self.user {
            Some(name) => name.clone(),
            None => self.only_user()?,
        };
        Username::parse(&name).map_err(|code| Wrong(format!("--user: {}", code.title())).into())
    }

    fn only_user(&self) -> Result<String> {
        let kept = Store::directory().map(|state| Store::users(&state, &self.server));
        let mut users = kept.unwrap_or_default();
        match (users.pop(), users.is_empty()) {
            (Some(user), true) => return Ok(user),
            (Some(_), false) => bail!(Wrong(
                "several sessions are kept: choose with --user NAME".into()
            )),
            (None, _) => {}
        }
        if !stdin().is_terminal() || !stderr().is_terminal() {
            bail!(Wrong(
                "no account: give --user NAME or set BANTER_USER".into()
            ));
        }
        eprint!("Username on {}: ", self.server);
        let mut name = String::new();
        stdin()
            .read_line(&mut name)
            .context("cannot read the username")?;
        Ok(name.trim().to_owned())
    }

    async fn kept(&self, store: &Store) -> Result<Option<Client>> {
        let Some(client) = Client::kept(&self.server, store.clone()).map_err(wrong_address)? else {
            return Ok(None);
        };
        match patient(async || client.me().await).await {
            Ok(_) => Ok(Some(client)),
            Err(Error::SessionEnded) => Ok(None),
            Err(e) if e.is(Code::TokenInvalid) => Ok(None),
            Err(e) => Err(plainly(e)),
        }
    }

    async fn log_in(&self, user: &Username) -> Result<Client> {
        let server = &self.server;
        let given = std::env::var("BANTER_PASSWORD").ok();
        let given = given.filter(|password| !password.is_empty());
        let may_ask = given.is_none() && stdin().is_terminal();
        let password = match given {
            Some(password) => password,
            None => rpassword::prompt_password(format!("Password for {user} on {server}: "))
                .map_err(|_| {
                    anyhow!(
                        "no session for {user} is kept: set BANTER_PASSWORD, \
                         or run this once in a terminal"
                    )
                })?,
        };
        let password = Zeroizing::new(password);
        match Client::login(server, user.as_str(), &password).await {
            Err(e) if e.is(Code::LoginFailed) && may_ask => self.register(user, &password).await,
            Err(e) if e.is(Code::LoginFailed) => {
                bail!("{user} cannot log in on {server}: the username or password is wrong")
            }
            Err(e) => Err(wrong_address(e)),
            Ok(client) => Ok(client),
        }
    }

    /// The server does not tell an unknown account from a wrong password; the user may know.
    async fn register(&self, user: &Username, password: &str) -> Result<Client> {
        eprint!("No such account, or a wrong password. Make a new account {user}? [y/N] ");
        let mut answer = String::new();
        stdin()
            .read_line(&mut answer)
            .context("cannot read the answer")?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("not logged in");
        }
        let again = rpassword::prompt_password("The same password again: ")
            .context("cannot read the password")?;
        if *Zeroizing::new(again) != *password {
            bail!("the two passwords differ; nothing was done");
        }
        match Client::register(&self.server, user.as_str(), password).await {
            Err(e) if e.is(Code::UsernameTaken) => {
                bail!("there is an account {user}, with another password")
            }
            registered => registered.map_err(plainly),
        }
    }
}

fn wrong_address(error: Error) -> anyhow::Error {
    match error {
        Error::Address(_) => Wrong(format!("--server: {error}")).into(),
        other => plainly(other),
    }
}

/// A failure in the words of the client, with whatever the server put into it made harmless.
pub(crate) fn plainly(error: Error) -> anyhow::Error {
    anyhow!("{}", visible(&error.to_string()))
}

/// Asks again for a while when the server is away: it may just be restarting.
pub(crate) async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T> {
    patient(ask).await.map_err(plainly)
}

/// The same, with the error as it came.
async fn patient<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let began = tokio::time::Instant::now();
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(e) if e.is_retryable() && began.elapsed() < PATIENCE => {
                tokio::time::sleep(backoff.next(0.5, e.retry_after())).await;
            }
            answer => return answer,
        }
    }
}
