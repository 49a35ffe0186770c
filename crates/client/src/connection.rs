//! A connection that lasts: it reconnects, resumes, renews its token and keeps its outbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use banter_protocol::id::{ChannelId, MessageId, Position, Seq};
use banter_protocol::limit;
use banter_protocol::text::Body;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::calls::Client;
use crate::error::Error;
use crate::frame::{Ack, Entry, Reset, Welcome};
use crate::session::now_ms;

mod driver;

mod talk;

mod watch;

/// Events that wait for their reader; beyond, the socket is not read, and the server will close it
/// as too slow, after which the connection resumes.
const EVENTS_MAX: usize = 1024;

/// What happens on a connection. The entries of a channel come once each and in order.
#[derive(Debug)]
pub enum Event {
    /// A socket was opened; the first time and after every interruption.
    Connected(Welcome),
    /// The next entry of its channel.
    Entry(Entry),
    /// A message was accepted. In a cluster it may come once more, under another number, if the
    /// log lost the message before it was stored.
    Ack(Ack),
    /// A message was refused for good, and is given up.
    Refused {
        /// The message.
        id: MessageId,
        /// Its channel.
        channel: ChannelId,
        /// The stable reason; see [`banter_protocol::error::Code`].
        code: String,
        /// One sentence for people.
        message: String,
    },
    /// A message was refused for the moment, and is tried again by itself.
    Deferred {
        /// The message.
        id: String,
        /// The stable reason.
        code: String,
    },
    /// The server cannot go on after the last entry that came. What follows from it comes as
    /// [`Event::Restart`], [`Event::Lost`], or not at all: missing entries are paged.
    Reset(Reset),
    /// The channel has another history now: forget what came of it after number `from`; it comes
    /// again.
    Restart {
        /// The channel.
        channel: ChannelId,
        /// What stays.
        from: Seq,
    },
    /// No membership any more: nothing further comes from the channel.
    Lost {
        /// The channel.
        channel: ChannelId,
    },
    /// The socket was lost, or none could be opened; the connection comes back by itself.
    Disconnected {
        /// Why.
        reason: String,
        /// The wait before the next try.
        retry_in: Duration,
    },
    /// The connection is over for good; nothing follows.
    Ended(Error),
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The text breaks a rule.
    #[error("a message has 1 to 16,384 bytes, is not blank and has no NUL character")]
    Body,
    /// As many messages wait as may.
    #[error("too many messages wait for their answer")]
    Full,
    /// The connection is over.
    #[error("the connection is over")]
    Ended,
}

#[derive(Debug)]
enum Command {
    Send {
        id: MessageId,
        channel: ChannelId,
        body: Body,
    },
    Close,
}

/// What is sent goes in here. The connection ends when the last handle is dropped.
///
/// Events must be read meanwhile: a connection whose events wait does not read answers either.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    /// One permit for each place in the outbox.
    room: Arc<Semaphore>,
    /// By how much the server's clock is ahead, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
}

impl Handle {
    /// Sends a message, when the outbox has room for it. It is safe once its [`Event::Ack`] comes.
    ///
    /// # Errors
    /// [`SendError::Body`] or [`SendError::Ended`].
    pub async fn send(&self, channel: ChannelId, body: &str) -> Result<MessageId, SendError> {
        let id = self.fresh_id();
        self.send_as(id.clone(), channel, body).await?;
        Ok(id)
    }

    /// As [`Handle::send`], under an id of one's own: the same one again is the same message.
    ///
    /// # Errors
    /// As [`Handle::send`].
    pub async fn send_as(
        &self,
        id: MessageId,
        channel: ChannelId,
        body: &str,
    ) -> Result<(), SendError> {
        let body = Body::parse(body).map_err(|_| SendError::Body)?;
        let permit = self.room.acquire().await.map_err(|_| SendError::Ended)?;
        // The connection gives it back when the message leaves the outbox.
        permit.forget();
        self.command(Command::Send { id, channel, body })
    }

    /// Sends a message at once.
    ///
    /// # Errors
    /// As [`Handle::send`]; also [`SendError::Full`].
    pub fn try_send(&self, channel: ChannelId, body: &str) -> Result<MessageId, SendError> {
        use tokio::sync::TryAcquireError;
        let body = Body::parse(body).map_err(|_| SendError::Body)?;
        let permit = self.room.try_acquire().map_err(|e| match e {
            TryAcquireError::Closed => SendError::Ended,
            TryAcquireError::NoPermits => SendError::Full,
        })?;
        permit.forget();
        let id = self.fresh_id();
        self.command(Command::Send {
            id: id.clone(),
            channel,
            body,
        })?;
        Ok(id)
    }

    /// Ends the connection. What has no answer yet is given up.
    pub fn close(&self) {
        // It is over already, or about to be.
        let _ = self.command(Command::Close);
    }

    fn command(&self, command: Command) -> Result<(), SendError> {
        // There is a place for every permit and one more, so `Full` means a second close.
        self.commands
            .try_send(command)
            .map_err(|_| SendError::Ended)
    }

    /// A fresh `UUIDv7` by the server's clock: one from a clock that is wrong would be refused.
    fn fresh_id(&self) -> MessageId {
        let ms = now_ms().saturating_add(self.ahead_ms.load(Ordering::Relaxed));
        let ms = u64::try_from(ms).unwrap_or(0);
        let nanos = u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000;
        let time = uuid::Timestamp::from_unix(uuid::NoContext, ms / 1000, nanos);
        let text = Uuid::new_v7(time).to_string();
        text.parse().expect("a UUID's text is a message id")
    }
}

/// What happens, in order.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` when the connection is over. Safe to drop while waiting.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }
}

pub(crate) fn open(client: Client, positions: BTreeMap<ChannelId, Position>) -> (Handle, Events) {
    let (commands, orders) = mpsc::channel(limit::OUTBOX_MAX + 1);
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let room = Arc::new(Semaphore::new(limit::OUTBOX_MAX));
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let handle = Handle {
        commands,
        room: room.clone(),
        ahead_ms: ahead_ms.clone(),
    };
    let driver = driver::Driver::new(client, positions, orders, events, room, ahead_ms);
    tokio::spawn(driver.run());
    (handle, Events { receiver })
}
