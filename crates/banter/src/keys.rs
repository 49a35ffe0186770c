//! `banter keys`: the keys that sign access tokens, beside a running server.

use anyhow::Result;
use banter_server::login::rotate_keys;
use banter_storage::keys::{Keys as Stored, State};
use clap::{Args, Subcommand};

use crate::config::Location;
use crate::{database, print, run_async};

/// List and replace the keys that sign access tokens
///
/// The server replaces them by itself from time to time. Works beside a running server, which
/// follows within 2 seconds.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(List),
    Rotate(Rotate),
}

/// List the keys: name, state, since when
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    location: Location,
}

/// Sign with the next key from now on
///
/// Tokens that the old key signed stay good until they expire.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter keys rotate                 out of habit
  banter keys rotate --compromised   somebody may have the keys")]
struct Rotate {
    /// Forget all keys: every access token ends at once, sessions renew theirs
    #[arg(long)]
    compromised: bool,
    #[command(flatten)]
    location: Location,
}

impl Keys {
    /// Does it.
    ///
    /// # Errors
    /// When it was not done, and why.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.action {
            Action::List(list) => list.run(),
            Action::Rotate(rotate) => rotate.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let settings = self.location.load(Vec::new())?.settings;
        run_async(async {
            let opened = database::open_existing(&settings).await?;
            let mut lines = String::new();
            for key in Stored::new(&opened).all().await? {
                let state = match key.state {
                    State::Next => "next",
                    State::Active => "active",
                    State::Retired => "retired",
                };
                lines.push_str(&format!("{}  {state:7}  since {}\n", key.kid, key.since));
            }
            print(lines.as_bytes())
        })
    }
}

impl Rotate {
    fn run(&self) -> Result<()> {
        let settings = self.location.load(Vec::new())?.settings;
        run_async(async {
            let opened = database::open(&settings).await?;
            rotate_keys(&settings, &opened, self.compromised).await?;
            print(b"rotated; running servers follow within 2 seconds\n")
        })
    }
}
