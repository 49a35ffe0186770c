//! `banter tail`: what happens in a channel, as it happens.

use std::io::{ErrorKind, IsTerminal as _, Write as _, stdout};

use anyhow::{Context as _, Result};
use banter_client::connection::{Event, Events};
use banter_client::frame::{Entry, Kind, Reason, Reset};
use banter_protocol::id::Seq;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::account::{Account, plainly};
use crate::destination::{Destination, Joined, lost};
use crate::display::{Display, visible, visible_json};
use crate::run_async;

/// Print what happens in a channel, as it happens
///
/// Begins with what comes next, or after the entry with number SEQ. Comes back by itself after an
/// interruption and leaves nothing out. Joins a public channel when the account is no member yet.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter tail '#ops'
  banter tail '#ops' --json --after 0 | jq -r 'select(.type == \"message\").body'")]
pub(crate) struct Tail {
    /// '#name' (quoted) or id
    #[arg(value_name = "CHANNEL")]
    channel: Destination,
    /// Print the frames of the protocol, one JSON object a line
    #[arg(long)]
    json: bool,
    /// Begin after the entry with this number; 0: with the first entry of all
    #[arg(long, value_name = "SEQ", allow_negative_numbers = true)]
    after: Option<Seq>,
    #[command(flatten)]
    account: Account,
}

impl Tail {
    /// Ends well when it is interrupted, or when nobody reads what it prints.
    pub(crate) fn run(&self) -> Result<()> {
        let terminal = stdout().is_terminal();
        let display = Display::new(terminal);
        run_async(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                done = self.follow(display, terminal) => done,
                _ = interrupt.recv() => Ok(()),
                _ = terminate.recv() => Ok(()),
            }
        })
    }

    async fn follow(&self, display: Display, terminal: bool) -> Result<()> {
        let client = self.account.sign_in().await?;
        let joined = self.channel.join_aloud(&client).await?;
        let me = client.user().await.username;
        let after = self.after.unwrap_or(joined.head);
        // What lies ahead of the head cannot be resumed: from there on it is waited for.
        let position = joined.channel.at(after.min(joined.head));
        let (_handle, events) = client.connect([(joined.channel.id, position)].into());
        let frame = |raw: &str| {
            if terminal {
                visible_json(raw) + "\n"
            } else {
                raw.replace(['\n', '\r'], " ") + "\n"
            }
        };
        let mut beyond = after;
        let print = |news: News<'_>| -> Result<bool> {
            let entry = match news {
                News::Entry(entry) => entry,
                News::Reset(reset) => {
                    if reset.reason == Reason::Epoch {
                        // Its numbers begin anew: what was asked for means nothing in them.
                        beyond = 0;
                    }
                    return Ok(!self.json || !is_closed(write(&frame(&reset.raw)))?);
                }
            };
            if entry.seq > beyond {
                let line = if self.json {
                    frame(&entry.raw)
                } else {
                    display.entry(entry, true).unwrap_or_default()
                };
                if is_closed(write(&line))? {
                    return Ok(false);
                }
            }
            let mine = matches!(&entry.kind, Kind::Left { user, .. } if *user == me);
            if mine {
                Err(lost(&joined.label))
            } else {
                Ok(true)
            }
        };
        follow(events, &joined, print).await
    }
}

/// What is printed.
enum News<'a> {
    Entry(&'a Entry),
    Reset(&'a Reset),
}

/// Hands on the channel's news until that says `false`; the rest is told on stderr.
async fn follow(
    mut events: Events,
    joined: &Joined,
    mut print: impl FnMut(News<'_>) -> Result<bool>,
) -> Result<()> {
    let (id, label) = (joined.channel.id, &joined.label);
    let mut away = false;
    while let Some(event) = events.next().await {
        match event {
            Event::Entry(entry) if entry.channel == id => {
                let goes_on = print(News::Entry(&entry))?;
                if !goes_on {
                    return Ok(());
                }
            }
            Event::Reset(reset) if reset.channel == id => {
                let goes_on = print(News::Reset(&reset))?;
                if !goes_on {
                    return Ok(());
                }
            }
            Event::Connected(_) if away => {
                away = false;
                eprintln!("banter: connected again");
            }
            Event::Disconnected { reason, .. } if !away => {
                away = true;
                eprintln!("banter: disconnected ({}); coming back", visible(&reason));
            }
            Event::Restart { channel, from } if channel == id => eprintln!(
                "banter: {label} has another history now; what came after {from} comes again"
            ),
            Event::Lost { channel } if channel == id => return Err(lost(label)),
            Event::Ended(error) => return Err(plainly(error)),
            _ => {}
        }
    }
    Ok(())
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn is_closed(written: std::io::Result<()>) -> Result<bool> {
    match written {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(true),
        other => other.map(|()| false).context("cannot write to stdout"),
    }
}
