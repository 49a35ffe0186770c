//! The task behind a connection: it moves bytes between the socket and the rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use banter_protocol::close::Close;
use banter_protocol::id::{ChannelId, Position};
use banter_protocol::limit;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::watch::Opened;
use super::{Command, Event};
use crate::backoff::Backoff;
use crate::calls::{Client, History};
use crate::error::Error;
use crate::follow::{Follows, Told, Want};
use crate::frame::Welcome;
use crate::outbox::Outbox;
use crate::socket::{self, Ending, Failure, Socket, Verdict};

/// A socket that lasted this long was a good one: the next wait is short again.
const GOOD_SOCKET: Duration = Duration::from_secs(10);
/// Frames a second: four fifths of what a server allows by default.
const FRAMES_PER_SECOND: u32 = limit::SOCKET_FRAMES_PER_SECOND * 4 / 5;
/// However often a server says `too_fast`, this many frames a second are tried.
const FRAMES_PER_SECOND_MIN: u32 = 10;

pub(super) struct Driver {
    pub(super) client: Client,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) room: Arc<Semaphore>,
    pub(super) ahead_ms: Arc<AtomicI64>,
    pub(super) follows: Follows,
    pub(super) outbox: Outbox,
    pub(super) backoff: Backoff,
    pub(super) frames_per_second: u32,
    pub(super) pages: JoinSet<(Want, Result<History, Error>)>,
    pub(super) began: Instant,
    /// The token that the present socket, or the last try, was opened with.
    pub(super) token: String,
    pub(super) strikes: u32,
}

/// The user is gone, or the connection is over: the task ends.
pub(super) struct Over;

/// What a socket's life ends with.
pub(super) enum Outcome {
    Ended(Ending),
    Moved(Opened),
    Over,
}

impl From<Over> for Outcome {
    fn from(_: Over) -> Self {
        Outcome::Over
    }
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        Outcome::Ended(ending)
    }
}

impl Driver {
    pub(super) fn new(
        client: Client,
        positions: BTreeMap<ChannelId, Position>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        room: Arc<Semaphore>,
        ahead_ms: Arc<AtomicI64>,
    ) -> Self {
        Self {
            client,
            commands,
            events,
            room,
            ahead_ms,
            follows: Follows::new(positions),
            outbox: Outbox::default(),
            backoff: Backoff::default(),
            frames_per_second: FRAMES_PER_SECOND,
            pages: JoinSet::new(),
            began: Instant::now(),
            token: String::new(),
            strikes: 0,
        }
    }

    pub(super) async fn run(mut self) {
        // The task ends by itself only when the user is gone or was told.
        let _ = self.stay().await;
        self.room.close();
    }

    async fn stay(&mut self) -> Result<(), Over> {
        let mut opened = None;
        loop {
            let (socket, welcome) = match opened.take() {
                Some(opened) => opened,
                None => match self.open().await? {
                    Ok(opened) => opened,
                    Err(Failure::Call(error)) => {
                        self.wait_after_call(error).await?;
                        continue;
                    }
                    Err(Failure::Ended(ending)) => {
                        self.wait_after(ending).await?;
                        continue;
                    }
                },
            };
            let began = Instant::now();
            match self.talk(socket, welcome).await {
                Outcome::Over => return Err(Over),
                Outcome::Moved(moved) => opened = Some(*moved),
                Outcome::Ended(ending) => {
                    if began.elapsed() >= GOOD_SOCKET {
                        self.backoff.reset();
                    }
                    self.wait_after(ending).await?;
                }
            }
        }
    }

    async fn open(&mut self) -> Result<Result<(Socket, Welcome), Failure>, Over> {
        let client = self.client.clone();
        let token = match self.meanwhile(async move { client.token().await }).await? {
            Ok(token) => token,
            Err(error) => return Ok(Err(Failure::Call(error))),
        };
        self.token.clone_from(&token);
        let client = self.client.clone();
        let positions = self.follows.positions();
        let opening = async move { socket::open(&client, &token, &positions).await };
        self.meanwhile(opening).await
    }

    async fn wait_after_call(&mut self, error: Error) -> Result<(), Over> {
        if !error.is_retryable() {
            return self.end(error).await;
        }
        self.wait(error.to_string(), error.retry_after()).await
    }

    async fn wait_after(&mut self, ending: Ending) -> Result<(), Over> {
        let verdict = ending.verdict();
        let given_up = verdict == Verdict::Once && self.strikes > 0;
        if verdict == Verdict::Stop || given_up {
            return self.end(ending.into_error()).await;
        }
        if ending.code == Some(Close::TooFast.code()) {
            self.frames_per_second = (self.frames_per_second / 2).max(FRAMES_PER_SECOND_MIN);
        }
        self.wait(ending.reason, ending.retry_after).await?;
        if verdict == Verdict::Retry {
            return Ok(());
        }
        if verdict == Verdict::Once {
            self.strikes += 1;
        }
        let (client, stale) = (self.client.clone(), self.token.clone());
        let renewing = async move { client.renewed(&stale).await };
        match self.meanwhile(renewing).await? {
            Err(error) if !error.is_retryable() => self.end(error).await,
            // What could not be renewed now is tried again after the next refusal.
            _ => Ok(()),
        }
    }

    async fn wait(&mut self, reason: String, asked: Option<Duration>) -> Result<(), Over> {
        let retry_in = self.backoff.next(chance(), asked);
        tracing::debug!(%reason, ?retry_in, "disconnected");
        self.tell(Event::Disconnected { reason, retry_in }).await?;
        self.meanwhile(sleep(retry_in)).await
    }

    async fn end(&mut self, error: Error) -> Result<(), Over> {
        self.tell(Event::Ended(error)).await?;
        Err(Over)
    }

    /// Waits for something while the user's commands are taken.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Over> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                command = self.commands.recv() => self.obey(command)?,
                () = self.events.closed() => return Err(Over),
            }
        }
    }

    pub(super) fn obey(&mut self, command: Option<Command>) -> Result<(), Over> {
        match command {
            Some(Command::Send { id, channel, body }) => {
                self.outbox.push(id, channel, body);
                Ok(())
            }
            Some(Command::Close) | None => Err(Over),
        }
    }

    pub(super) async fn tell(&mut self, event: Event) -> Result<(), Over> {
        self.events.send(event).await.map_err(|_| Over)
    }

    pub(super) async fn tell_all(&mut self, told: Vec<Told>) -> Result<(), Over> {
        for told in told {
            self.tell(match told {
                Told::Entry(entry) => Event::Entry(entry),
                Told::Restart { channel, from } => Event::Restart { channel, from },
                Told::Lost { channel } => Event::Lost { channel },
            })
            .await?;
        }
        Ok(())
    }
}

/// Uniform in 0 ≤ r < 1.
pub(super) fn chance() -> f64 {
    // Without randomness of the system nothing worse happens than equal waits.
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
