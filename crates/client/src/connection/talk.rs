//! The life of one socket.

use std::sync::atomic::Ordering;
use std::time::Duration;

use banter_protocol::error::Code;
use banter_protocol::limit;
use tokio::time::{Instant, sleep, sleep_until};

use super::driver::{Driver, Outcome, Over, chance};
use super::watch::{Opened, Watch, finished};
use super::{Command, Event};
use crate::backoff::Backoff;
use crate::calls::{History, Span};
use crate::error::Error;
use crate::follow::{Page, Want};
use crate::frame::{self, Frame, Refusal, Welcome};
use crate::outbox::{Due, Outbox};
use crate::pace::Pace;
use crate::session::now_ms;
use crate::socket::{self, Ending, Failure, Socket};

/// Pages of history under way at once.
const PAGES_AT_ONCE: usize = 4;
/// Between two tries to renew a token while its socket still lives.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

enum Input {
    Frame(Result<Frame, Ending>),
    Command(Option<Command>),
    Page(Want, Result<History, Error>),
    Renewed(Result<String, Error>),
    Moved(Result<Opened, Failure>),
    Tick,
    Unheard,
}

impl Driver {
    /// Lives on one socket until it ends or is replaced.
    pub(super) async fn talk(&mut self, mut socket: Socket, welcome: Welcome) -> Outcome {
        let mut watch = Watch::new(&welcome);
        let mut pace = Pace::new(self.frames_per_second);
        self.strikes = 0;
        let ahead_ms = welcome.server_time.as_ms() - now_ms();
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        self.follows.on_welcome(&welcome);
        self.outbox.on_connected();
        if let Err(over) = self.tell(Event::Connected(welcome)).await {
            return over.into();
        }
        let outcome = loop {
            let step = self.step(&mut socket, &mut watch, &mut pace).await;
            if let Err(outcome) = step {
                break outcome;
            }
        };
        if !matches!(outcome, Outcome::Ended(_)) {
            let closing = socket.close();
            if matches!(outcome, Outcome::Over) {
                closing.await;
            } else {
                tokio::spawn(closing);
            }
        }
        outcome
    }

    async fn step(
        &mut self,
        socket: &mut Socket,
        watch: &mut Watch,
        pace: &mut Pace,
    ) -> Result<(), Outcome> {
        let due = self.send_due(socket, pace).await?;
        self.fetch_pages();
        let wake = due.map_or(watch.wake(), |due| watch.wake().min(self.began + due));
        match self.input(socket, watch, wake).await {
            Input::Frame(frame) => {
                watch.heard();
                let frame = frame?;
                self.on_frame(frame, watch).await?;
            }
            Input::Command(command) => {
                self.obey(command)?;
                while let Ok(command) = self.commands.try_recv() {
                    self.obey(Some(command))?;
                }
            }
            Input::Page(want, page) => self.on_page(want, page).await?,
            Input::Renewed(Ok(token)) => {
                self.token.clone_from(&token);
                socket.feed(frame::auth(&token)).await?;
                socket.flush().await?;
                pace.spend(self.began.elapsed());
            }
            Input::Renewed(Err(error)) => {
                tracing::debug!(%error, "the token was not renewed");
                watch.renew_at = error.is_retryable().then(|| Instant::now() + RENEW_AGAIN);
            }
            Input::Moved(Ok(moved)) => return Err(Outcome::Moved(moved)),
            // The old socket serves on until the server closes it.
            Input::Moved(Err(_)) => {}
            Input::Tick => self.on_tick(socket, watch).await?,
            Input::Unheard => return Err(Outcome::Over),
        }
        Ok(())
    }

    async fn input(&mut self, socket: &mut Socket, watch: &mut Watch, wake: Instant) -> Input {
        tokio::select! {
            frame = socket.next() => Input::Frame(frame),
            command = self.commands.recv() => Input::Command(command),
            Some(Ok((want, page))) = self.pages.join_next() => Input::Page(want, page),
            Some(done) = finished(&mut watch.renewal) => Input::Renewed(done),
            Some(done) = finished(&mut watch.moving) => Input::Moved(done),
            () = self.events.closed() => Input::Unheard,
            () = sleep_until(wake) => Input::Tick,
        }
    }

    /// Sends what may be sent, and tells when there will be more.
    async fn send_due(
        &mut self,
        socket: &mut Socket,
        pace: &mut Pace,
    ) -> Result<Option<Duration>, Ending> {
        let mut fed = false;
        let next = loop {
            let now = self.began.elapsed();
            if let Err(at) = pace.ready(now) {
                break Some(at);
            }
            let text = match self.outbox.due(now) {
                Due::Send { id, channel, body } => frame::send(id, channel, body.as_str()),
                Due::At(at) => break Some(at),
                Due::Nothing => break None,
            };
            socket.feed(text).await?;
            pace.spend(now);
            fed = true;
        };
        if fed {
            socket.flush().await?;
        }
        Ok(next)
    }

    fn fetch_pages(&mut self) {
        while self.pages.len() < PAGES_AT_ONCE {
            let Some(want) = self.follows.want() else {
                return;
            };
            let client = self.client.clone();
            let mut backoff = Backoff::default();
            let waits = (0..want.fruitless).map(|_| backoff.next(chance(), None));
            let wait = waits.last().unwrap_or_default();
            self.pages.spawn(async move {
                sleep(wait).await;
                let span = Span::After(want.after);
                let page = client.history(want.channel, span, limit::PAGE_MAX).await;
                (want, page)
            });
        }
    }

    async fn on_page(&mut self, want: Want, page: Result<History, Error>) -> Result<(), Over> {
        let mut told = Vec::new();
        match page {
            Ok(History { entries, .. }) => {
                self.follows
                    .on_page(want, Some(Page { entries }), &mut told);
            }
            Err(e) if e.is(Code::NotAMember) || e.is(Code::ChannelNotFound) => {
                self.follows.on_lost(want.channel, &mut told);
            }
            Err(error) => {
                tracing::debug!(%error, "a page of history is missing");
                self.follows.on_page(want, None, &mut told);
            }
        }
        self.tell_all(told).await
    }

    async fn on_frame(&mut self, frame: Frame, watch: &mut Watch) -> Result<(), Over> {
        let mut told = Vec::new();
        match frame {
            Frame::Entry(entry) => self.follows.on_entry(entry, &mut told),
            Frame::Reset(reset) => {
                self.follows.on_reset(&reset, &mut told);
                self.tell(Event::Reset(reset)).await?;
            }
            Frame::Ack(ack) => {
                if self.emptied(|outbox| outbox.on_ack(&ack)) {
                    self.tell(Event::Ack(ack)).await?;
                }
            }
            Frame::Stored(stored) => self.emptied(|outbox| outbox.on_stored(&stored)),
            Frame::Resend => self.outbox.on_resend(),
            Frame::Reconnect { after_ms } => {
                watch.move_at = Some(Instant::now() + Duration::from_millis(after_ms));
            }
            Frame::Renewed { expires_in } => watch.renew_after(expires_in),
            Frame::Error(refusal) => self.on_refusal(refusal, watch).await?,
            Frame::Welcome(_) | Frame::Pong | Frame::Unknown => {}
        }
        self.tell_all(told).await
    }

    async fn on_refusal(&mut self, refusal: Refusal, watch: &mut Watch) -> Result<(), Over> {
        let Some(id) = refusal.id else {
            if refusal.code == Code::TokenInvalid.as_str() {
                watch.renew_at = Some(Instant::now() + RENEW_AGAIN);
            }
            return Ok(());
        };
        let channel = refusal.channel.and_then(|channel| channel.parse().ok());
        let known = Code::ALL.iter().find(|code| code.as_str() == refusal.code);
        if known.is_some_and(|code| code.is_retryable()) {
            let asked = refusal.retry_after_ms.map(Duration::from_millis);
            let now = self.began.elapsed();
            self.outbox.on_deferred(&id, channel, now, asked, chance());
            let code = refusal.code;
            return self.tell(Event::Deferred { id, code }).await;
        }
        match self.emptied(|outbox| outbox.on_refused(&id, channel)) {
            Some((id, channel)) => {
                let (code, message) = (refusal.code, refusal.message);
                self.tell(Event::Refused {
                    id,
                    channel,
                    code,
                    message,
                })
                .await
            }
            None => Ok(()),
        }
    }

    /// Gives back the places of messages that leave the outbox.
    fn emptied<T>(&mut self, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let before = self.outbox.len();
        let changed = change(&mut self.outbox);
        self.room.add_permits(before - self.outbox.len());
        changed
    }

    async fn on_tick(&mut self, socket: &mut Socket, watch: &mut Watch) -> Result<(), Ending> {
        let now = Instant::now();
        if watch.renew_at.is_some_and(|at| at <= now) {
            watch.renew_at = None;
            let (client, stale) = (self.client.clone(), self.token.clone());
            watch.renewal = Some(tokio::spawn(async move { client.renewed(&stale).await }));
        }
        if watch.move_at.is_some_and(|at| at <= now) {
            watch.move_at = None;
            let client = self.client.clone();
            let positions = self.follows.positions();
            watch.moving = Some(tokio::spawn(async move {
                let token = client.token().await.map_err(Failure::Call)?;
                let opened = socket::open(&client, &token, &positions).await?;
                Ok(Box::new(opened))
            }));
        }
        if watch.is_dead(now) {
            return Err(Ending {
                code: None,
                reason: "the server has gone silent".into(),
                retry_after: None,
            });
        }
        if watch.asks(now) {
            socket.feed(frame::ping()).await?;
            socket.flush().await?;
        }
        Ok(())
    }
}
