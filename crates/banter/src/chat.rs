//! `banter chat`: talk in a terminal.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Result, bail};
use banter_client::Client;
use banter_client::connection::{Event, Events, Handle};
use banter_client::frame::{Entry, Kind, Welcome};
use banter_protocol::id::{ChannelId, MessageId, Seq};
use banter_protocol::limit;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::account::{Account, plainly};
use crate::destination::{Destination, label};
use crate::display::{Display, visible};
use crate::run_async;
use screen::Screen;

mod commands;

mod input;

mod screen;

/// After this long without an answer the user is told that a message waits.
const SLOW: Duration = Duration::from_secs(2);
/// How long the end of a chat in a terminal waits for the last answers.
const FAREWELL: Duration = Duration::from_secs(5);

/// Talk in a channel
///
/// Reads back the last messages, then shows what is said and sends what is typed. Restarts of the
/// server are bridged. In a pipe, every line of the input is a message. /help lists the commands.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter chat '#general'
  banter chat --server https://chat.example.org --user ann")]
pub(crate) struct Chat {
    /// '#name' (quoted) or id; a public channel is joined
    #[arg(value_name = "CHANNEL")]
    channel: Option<Destination>,
    #[command(flatten)]
    account: Account,
}

impl Chat {
    pub(crate) fn run(&self) -> Result<()> {
        let display = Display::new(Screen::is_terminal());
        run_async(async {
            let client = self.account.sign_in().await?;
            let mut talk = Talk::new(client, display).await?;
            let begun = talk.begin(self.channel.as_ref()).await;
            let done = match begun {
                Ok(events) => talk.run(events).await,
                Err(e) => Err(e),
            };
            talk.screen.close().await;
            done
        })
    }
}

/// A chat under way.
struct Talk {
    client: Client,
    me: String,
    display: Display,
    screen: Screen,
    handle: Option<Handle>,
    /// The channel that is shown and talked in.
    here: Option<Here>,
    labels: HashMap<ChannelId, String>,
    /// Channels with something new that the user was told of.
    told: HashSet<ChannelId>,
    /// Messages without an answer, the oldest first.
    open: Vec<(MessageId, Instant)>,
    slow: bool,
    away: bool,
    failed: bool,
    /// The end has come: nothing is read any more.
    until: Option<Instant>,
}

struct Here {
    id: ChannelId,
    /// The last entry that was shown.
    seq: Seq,
    /// The last one of the user's own that was accepted.
    mine: Seq,
    day: String,
}

impl Talk {
    async fn new(client: Client, display: Display) -> Result<Self> {
        Ok(Self {
            me: client.user().await.username,
            client,
            display,
            screen: Screen::open()?,
            handle: None,
            here: None,
            labels: HashMap::new(),
            told: HashSet::new(),
            open: Vec::new(),
            slow: false,
            away: false,
            failed: false,
            until: None,
        })
    }

    /// Goes to the first channel and connects, so that nothing falls between the page that is read
    /// back and what comes live.
    async fn begin(&mut self, channel: Option<&Destination>) -> Result<Events> {
        let mut positions = HashMap::new();
        match channel {
            None => {
                self.list_channels().await?;
                self.note("/join #name takes you to a channel, /help lists the commands")?;
            }
            Some(channel) => match channel.join(&self.client).await {
                Ok(joined) => {
                    let position = self.enter(&joined).await?;
                    positions.insert(joined.channel.id, position);
                }
                // At a terminal, the user can make the channel, or try another one.
                Err(e) if Screen::is_terminal() => self.note(&e.to_string())?,
                Err(e) => return Err(e),
            },
        }
        let (handle, events) = self.client.connect(positions.into_iter().collect());
        self.handle = Some(handle);
        self.prompt();
        Ok(events)
    }

    async fn run(&mut self, mut events: Events) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            if let Some(until) = self.until
                && (self.is_done() || until <= Instant::now())
            {
                return self.farewell();
            }
            let tick = Instant::now() + Duration::from_secs(1);
            let hears = self.until.is_none() && self.open.len() < limit::OUTBOX_MAX;
            tokio::select! {
                line = self.screen.next(), if hears => match line {
                    Some(line) => {
                        self.on_line(&line).await?;
                        self.prompt();
                    }
                    None => self.end(),
                },
                event = events.next(), if self.screen.has_room() => match event {
                    Some(event) => self.on_event(event).await?,
                    None => bail!("the connection is over"),
                },
                _ = terminate.recv() => self.until = Some(Instant::now()),
                () = sleep_until(tick) => self.on_tick()?,
            }
        }
    }

    /// Whether everything that was said is accepted, and shown.
    fn is_done(&self) -> bool {
        let shown = self.here.as_ref().is_none_or(|here| here.seq >= here.mine);
        self.open.is_empty() && shown
    }

    fn end(&mut self) {
        // In a pipe every message must find its answer, however long it takes.
        let patience = if Screen::is_terminal() {
            FAREWELL
        } else {
            Duration::from_secs(u32::MAX.into())
        };
        self.until = Some(Instant::now() + patience);
    }

    fn farewell(&mut self) -> Result<()> {
        if let Some(handle) = &self.handle {
            handle.close();
        }
        match (self.open.len(), self.failed) {
            // At a terminal the user was told, and may have said it again.
            (0, failed) if !failed || Screen::is_terminal() => Ok(()),
            (0, _) => bail!("not every message was sent"),
            (open, _) => bail!("{open} messages are without an answer and may be lost"),
        }
    }

    fn prompt(&self) {
        if self.until.is_none() {
            let here = self
                .here
                .as_ref()
                .and_then(|here| self.labels.get(&here.id));
            self.screen
                .prompt(format!("{}> ", here.map_or("", String::as_str)));
        }
    }

    fn note(&mut self, text: &str) -> Result<()> {
        self.screen.print(self.display.note(text))
    }

    async fn on_event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Entry(entry) => self.on_entry(&entry).await,
            Event::Ack(ack) => {
                self.answered(&ack.id);
                if let Some(here) = self.here.as_mut().filter(|here| here.id == ack.channel) {
                    here.mine = here.mine.max(ack.seq);
                }
                Ok(())
            }
            Event::Refused { id, message, .. } => {
                self.answered(&id);
                self.failed = true;
                self.note(&format!("a message was not sent: {}", visible(&message)))
            }
            Event::Connected(welcome) => self.on_connected(&welcome),
            Event::Disconnected { reason, .. } if !self.away => {
                self.away = true;
                let reason = visible(&reason);
                match self.open.len() {
                    0 => self.note(&format!("disconnected ({reason}), coming back")),
                    open => self.note(&format!(
                        "disconnected ({reason}), coming back; {open} waiting"
                    )),
                }
            }
            Event::Restart { channel, from } if self.is_here(channel) => {
                if let Some(here) = &mut self.here {
                    here.seq = from;
                }
                self.note(&format!(
                    "the channel has another history now, after {from}:"
                ))
            }
            Event::Lost { channel } => self.on_lost(channel),
            Event::Ended(error) => Err(plainly(error)),
            Event::Disconnected { .. }
            | Event::Deferred { .. }
            | Event::Reset(_)
            | Event::Restart { .. } => Ok(()),
        }
    }

    fn on_connected(&mut self, welcome: &Welcome) -> Result<()> {
        self.me.clone_from(&welcome.user.username);
        if !std::mem::take(&mut self.away) {
            return Ok(());
        }
        self.note("connected again")
    }

    async fn on_entry(&mut self, entry: &Entry) -> Result<()> {
        let channel = entry.channel;
        if self.is_here(channel) {
            let text = self.lines(entry);
            self.screen.print(text)?;
        } else if matches!(entry.kind, Kind::Message { .. }) && self.told.insert(channel) {
            let label = self.label_of(channel).await;
            self.note(&format!("something new in {label}"))?;
        }
        match &entry.kind {
            Kind::Left { user, .. } if *user == self.me => self.on_lost(channel),
            _ => Ok(()),
        }
    }

    async fn label_of(&mut self, channel: ChannelId) -> String {
        if !self.labels.contains_key(&channel)
            && let Ok(found) = self.client.channel(channel).await
        {
            self.labels.insert(channel, label(&found));
        }
        let label = self.labels.get(&channel).cloned();
        label.unwrap_or_else(|| channel.to_string())
    }

    fn on_lost(&mut self, channel: ChannelId) -> Result<()> {
        if !self.is_here(channel) {
            return Ok(());
        }
        self.here = None;
        self.note("you are no member of this channel any more; /join #name goes to another")
    }

    fn is_here(&self, channel: ChannelId) -> bool {
        self.here.as_ref().is_some_and(|here| here.id == channel)
    }

    /// An entry of the present channel as lines; none if it was shown before.
    fn lines(&mut self, entry: &Entry) -> String {
        let Some(here) = self.here.as_mut().filter(|here| entry.seq > here.seq) else {
            return String::new();
        };
        here.seq = entry.seq;
        let day = self.display.day(entry);
        let mut text = String::new();
        if here.day != day {
            text += &self.display.note(&day);
            here.day = day;
        }
        text += &self.display.entry(entry, false).unwrap_or_default();
        text
    }

    fn answered(&mut self, id: &MessageId) {
        self.open.retain(|(open, _)| open != id);
        if self.open.is_empty() {
            self.slow = false;
        }
    }

    fn on_tick(&mut self) -> Result<()> {
        let waits = self
            .open
            .first()
            .is_some_and(|(_, since)| since.elapsed() > SLOW);
        if !waits || std::mem::replace(&mut self.slow, true) {
            return Ok(());
        }
        let open = self.open.len();
        self.note(&format!(
            "{open} waiting for the server; sent as soon as it answers"
        ))
    }
}
