//! `banter send`: messages from a script.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Read as _, stdin};

use anyhow::{Context as _, Result, anyhow, bail};
use banter_client::connection::{Event, Events, Handle, SendError};
use banter_protocol::id::{ChannelId, MessageId};
use banter_protocol::limit;
use banter_protocol::text::Body;
use clap::Args;
use tokio::sync::mpsc;

use crate::account::{Account, plainly};
use crate::destination::Destination;
use crate::display::visible;
use crate::run_async;
use crate::usage::Wrong;

mod lines;

/// Send a message, or one for each line of the input
///
/// Without TEXT the whole standard input is one message, without its last newline. Ends with 0 only
/// when everything was accepted by the server; a restart of the server meanwhile does no harm.
/// Joins a public channel when the account is no member yet.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter send '#ops' 'backup done'
  df -h | banter send '#ops'
  journalctl -f -p err -o cat | banter send '#ops' --lines")]
pub(crate) struct Send {
    /// '#name' (quoted) or id
    #[arg(value_name = "CHANNEL")]
    channel: Destination,
    /// What to say; without it, standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// One message a line; blank lines are skipped
    #[arg(long, conflicts_with = "text")]
    lines: bool,
    #[command(flatten)]
    account: Account,
}

/// A message and where in the input it stood.
#[derive(Debug)]
struct Input {
    /// From 1; 0 where there is only one message.
    line: u64,
    /// The text, or what is wrong with it.
    text: Result<String, String>,
}

impl Send {
    pub(crate) fn run(&self) -> Result<()> {
        if let Some(text) = &self.text {
            check(text).map_err(|reason| Wrong(format!("TEXT: {reason}")))?;
        }
        run_async(async {
            let client = self.account.sign_in().await?;
            let channel = self.channel.join_aloud(&client).await?.channel.id;
            let input = match &self.text {
                Some(text) => one(text.clone()),
                None if self.lines => lines::read(),
                None => one(whole_input().await?),
            };
            let (handle, events) = client.connect([].into());
            Sending::new(channel, handle).run(input, events).await
        })
    }
}

fn one(text: String) -> mpsc::Receiver<Result<Input>> {
    let (give, take) = mpsc::channel(1);
    let input = Input {
        line: 0,
        text: Ok(text),
    };
    // There is room for one.
    let _ = give.try_send(Ok(input));
    take
}

async fn whole_input() -> Result<String> {
    if stdin().is_terminal() {
        eprintln!("banter: type the message, then Ctrl-D at the start of a line");
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        // One byte for the newline that is taken off, one to tell that there is more.
        let most = limit::BODY_BYTES_MAX as u64 + 3;
        stdin().lock().take(most).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    let bytes = read.await?.context("cannot read standard input")?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| anyhow!("standard input is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    check(text).map_err(|reason| anyhow!("standard input: {reason}"))?;
    Ok(text.to_owned())
}

fn check(text: &str) -> Result<(), String> {
    if text.len() > limit::BODY_BYTES_MAX {
        return Err(format!(
            "longer than the {} bytes of a message",
            limit::BODY_BYTES_MAX
        ));
    }
    Body::parse(text)
        .map(drop)
        .map_err(|_| SendError::Body.to_string())
}

/// The messages under way.
struct Sending {
    channel: ChannelId,
    handle: Handle,
    /// Those without an answer, and where in the input they stood.
    open: HashMap<MessageId, u64>,
    /// Read, and waiting for room.
    waiting: Option<Input>,
    failed: u64,
    away: bool,
    deferred: bool,
}

impl Sending {
    fn new(channel: ChannelId, handle: Handle) -> Self {
        Self {
            channel,
            handle,
            open: HashMap::new(),
            waiting: None,
            failed: 0,
            away: false,
            deferred: false,
        }
    }

    async fn run(
        mut self,
        mut input: mpsc::Receiver<Result<Input>>,
        mut events: Events,
    ) -> Result<()> {
        let mut ended = false;
        while !ended || self.waiting.is_some() || !self.open.is_empty() {
            tokio::select! {
                next = input.recv(), if !ended && self.waiting.is_none() => match next {
                    Some(input) => self.send(input?)?,
                    None => ended = true,
                },
                event = events.next() => self.on_event(event)?,
            }
        }
        self.handle.close();
        while events.next().await.is_some() {}
        match self.failed {
            0 => Ok(()),
            1 => bail!("a message was not sent"),
            failed => bail!("{failed} messages were not sent"),
        }
    }

    fn send(&mut self, input: Input) -> Result<()> {
        let checked = match &input.text {
            Ok(text) => check(text).map(|()| text),
            Err(reason) => Err(reason.clone()),
        };
        let sent = match checked {
            Ok(text) => self.handle.try_send(self.channel, text),
            Err(reason) => {
                self.give_up(input.line, &reason);
                return Ok(());
            }
        };
        match sent {
            Ok(id) => {
                self.open.insert(id, input.line);
            }
            Err(SendError::Full) => self.waiting = Some(input),
            Err(SendError::Body) => self.give_up(input.line, &SendError::Body.to_string()),
            // Why it is over is told by the last event.
            Err(SendError::Ended) => self.waiting = Some(input),
        }
        Ok(())
    }

    fn give_up(&mut self, line: u64, reason: &str) {
        self.failed += 1;
        match line {
            0 => eprintln!("banter: not sent: {}", visible(reason)),
            line => eprintln!("banter: line {line} not sent: {}", visible(reason)),
        }
    }

    fn on_event(&mut self, event: Option<Event>) -> Result<()> {
        match event {
            Some(Event::Ack(ack)) => {
                self.open.remove(&ack.id);
                self.deferred = false;
                if let Some(input) = self.waiting.take() {
                    self.send(input)?;
                }
            }
            Some(Event::Refused { id, message, .. }) => {
                let line = self.open.remove(&id).unwrap_or(0);
                self.give_up(line, &message);
                if let Some(input) = self.waiting.take() {
                    self.send(input)?;
                }
            }
            Some(Event::Deferred { code, .. }) if !self.deferred && code != "slow_down" => {
                self.deferred = true;
                eprintln!(
                    "banter: the server takes nothing now ({}); trying on",
                    visible(&code)
                );
            }
            Some(Event::Disconnected { reason, .. }) if !self.away => {
                self.away = true;
                eprintln!("banter: disconnected ({}); coming back", visible(&reason));
            }
            Some(Event::Connected(_)) => self.away = false,
            Some(Event::Ended(error)) => {
                let open = self.open.len();
                return Err(plainly(error).context(format!("{open} messages without an answer")));
            }
            None => bail!("the connection is over"),
            Some(_) => {}
        }
        Ok(())
    }
}
