//! `banter user`: accounts, beside a running server or before the first one.

use std::io::{IsTerminal as _, stdin};

use anyhow::{Context as _, Result, bail};
use banter_protocol::id::UserId;
use banter_protocol::limit;
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use banter_server::clock;
use banter_server::login::password::{self, Cost, Hasher};
use banter_storage::accounts::{Account, Accounts, NewAccount};
use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::Location;
use crate::{database, print, run_async};

/// Add, list, disable and enable accounts
///
/// Works beside a running server, which follows within 2 seconds.
#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(Add),
    List(List),
    Disable(Disable),
    Enable(Enable),
}

/// Add an account
///
/// Asks for the password in a terminal, else reads it as one line of standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter user add ann
  pwgen 20 1 | tee password | banter user add ann")]
struct Add {
    /// Username: 3 to 32 of a-z, 0-9, dot, underscore, hyphen
    #[arg(value_parser = username)]
    name: Username,
    #[command(flatten)]
    location: Location,
}

/// List all accounts
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter user list
  banter user list --json | jq -r 'select(.disabled) | .username'")]
struct List {
    /// Print one JSON object a line: id, username, created_at, disabled
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    location: Location,
}

/// Forbid an account to log in, and end its sessions
#[derive(Debug, Args)]
struct Disable {
    /// Username
    #[arg(value_parser = username)]
    name: Username,
    #[command(flatten)]
    location: Location,
}

/// Allow a disabled account to log in again
#[derive(Debug, Args)]
struct Enable {
    /// Username
    #[arg(value_parser = username)]
    name: Username,
    #[command(flatten)]
    location: Location,
}

impl User {
    /// Does it.
    ///
    /// # Errors
    /// When it was not done, and why.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.action {
            Action::Add(add) => add.run(),
            Action::List(list) => list.run(),
            Action::Disable(disable) => set_disabled(&disable.location, &disable.name, true),
            Action::Enable(enable) => set_disabled(&enable.location, &enable.name, false),
        }
    }
}

fn username(text: &str) -> Result<Username, &'static str> {
    Username::parse(text).map_err(|code| code.title())
}

impl Add {
    fn run(&self) -> Result<()> {
        let settings = self.location.load(Vec::new())?.settings;
        let password = read_password(&self.name)?;
        if password::check(&password).is_err() {
            bail!(
                "this password cannot be used: choose one of at least {} characters, \
                 at most {} bytes, that is not among the commonest",
                limit::PASSWORD_CHARS_MIN,
                limit::PASSWORD_BYTES_MAX
            );
        }
        run_async(async {
            let accounts = Accounts::new(&database::open(&settings).await?);
            let account = NewAccount {
                id: UserId::from_uuid(Uuid::now_v7()),
                username: self.name.clone(),
                password: Hasher::new(Cost::DEFAULT).hash(&password).await?,
                created_at: clock::now(),
            };
            if !accounts.create(&account, None).await? {
                bail!("the username {} is taken; choose another", self.name);
            }
            print(format!("{} can log in now\n", self.name).as_bytes())
        })
    }
}

/// Asks twice in a terminal; else takes one line of standard input, verbatim.
fn read_password(name: &Username) -> Result<Zeroizing<String>> {
    if stdin().is_terminal() {
        let ask = |prompt: String| {
            let answer = rpassword::prompt_password(prompt).context("cannot read the password");
            answer.map(Zeroizing::new)
        };
        let password = ask(format!("Password for {name}: "))?;
        if *ask("The same again: ".to_owned())? != *password {
            bail!("the two passwords differ; nothing was done");
        }
        return Ok(password);
    }
    let mut line = Zeroizing::new(String::new());
    let read = stdin().read_line(&mut line);
    if read.context("cannot read the password from standard input")? == 0 {
        bail!("no password: give it as one line of standard input");
    }
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    Ok(Zeroizing::new(password.to_owned()))
}

/// An account, as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    id: UserId,
    username: &'a Username,
    created_at: Timestamp,
    disabled: bool,
}

impl List {
    fn run(&self) -> Result<()> {
        let settings = self.location.load(Vec::new())?.settings;
        run_async(async {
            let accounts = Accounts::new(&database::open_existing(&settings).await?);
            let mut after = None;
            loop {
                let page = accounts.page(after.as_ref(), limit::PAGE_MAX).await?;
                let Some(last) = page.last() else {
                    return Ok(());
                };
                after = Some(last.username.clone());
                let lines: Result<String> = page.iter().map(|account| self.line(account)).collect();
                print(lines?.as_bytes())?;
            }
        })
    }

    fn line(&self, account: &Account) -> Result<String> {
        if self.json {
            let line = Line {
                id: account.id,
                username: &account.username,
                created_at: account.created_at,
                disabled: account.disabled,
            };
            return Ok(serde_json::to_string(&line)? + "\n");
        }
        let state = if account.disabled {
            "disabled"
        } else {
            "enabled"
        };
        let (name, created_at) = (account.username.as_str(), account.created_at);
        Ok(format!("{name:32}  {state:8}  since {created_at}\n"))
    }
}

fn set_disabled(location: &Location, name: &Username, disabled: bool) -> Result<()> {
    let settings = location.load(Vec::new())?.settings;
    run_async(async {
        let accounts = Accounts::new(&database::open_existing(&settings).await?);
        let done = accounts.set_disabled(name, disabled, clock::now());
        if done.await?.is_none() {
            bail!("there is no account {name}; banter user list shows all");
        }
        let state = if disabled {
            "is disabled; its sessions end within 2 seconds"
        } else {
            "can log in again"
        };
        print(format!("{name} {state}\n").as_bytes())
    })
}
