//! Entries on their way into the log: bounded, batched, answered.
//!
//! A batch is whatever has come while the batch before was being written: one entry when it is
//! quiet, a thousand when it is busy, and nothing ever waits for company.

mod counts;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use banter_protocol::entry::Level;
use banter_protocol::error::Code;
use banter_protocol::frame::{Ack, ErrorFrame, ServerFrame};
use banter_protocol::id::{ChannelId, Epoch, MessageId, Position};
use banter_protocol::limit;
use banter_protocol::websocket::text_frame;
use banter_storage::bus::Bus;
use banter_storage::log::{Act, Answer, Append, Log, Receipt, Refused};
use tokio::sync::{mpsc, oneshot};

use counts::Counts;
pub use pace::{Pace, Paces};

use crate::broadcast::{Acknowledgement, Broadcast, Outbound, Unstored};
use crate::metric::Metrics;
use crate::problem::Problem;
use crate::trace::{Part, Traces};

/// Entries that may wait for the log: a few seconds of what a disk commits.
const WAITING_MAX: usize = 20_000;
/// Bytes of bodies that may wait for the log.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long somebody waits until an entry that the log has taken is in the database: a hundred
/// times what it takes while the workers keep up.
const STORED_WITHIN: Duration = Duration::from_secs(5);

/// The way into the log. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Appender {
    jobs: mpsc::Sender<Job>,
    waiting_bytes: Arc<AtomicUsize>,
    channels: Arc<Paces<ChannelId>>,
    log: Log,
    bus: Bus,
    metrics: Metrics,
}

#[derive(Debug)]
struct Job {
    append: Option<Append>,
    reply: Reply,
    begun: Instant,
}

#[derive(Debug)]
enum Reply {
    /// A socket that gets an `ack` or an `error` with this id.
    Socket(Arc<Outbound>, MessageId),
    /// A task that waits for the answer.
    Caller(oneshot::Sender<Result<Receipt, Refusal>>),
    /// The same about a heartbeat, which is nobody's and not counted as a send.
    Heartbeat(oneshot::Sender<Result<Receipt, Refusal>>),
}

/// The author is no member of the channel; or there is no membership to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMember;

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    NotAMember,
    Shed(Shed),
}

impl Refusal {
    const UNAVAILABLE: Self = Self::Shed(Shed::soon(Code::Unavailable));

    const fn code(self) -> Code {
        match self {
            Self::NotAMember => Code::NotAMember,
            Self::Shed(shed) => shed.code,
        }
    }

    const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::NotAMember => None,
            Self::Shed(shed) => Some(shed.retry_after),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotAMember => Self::NotAMember,
            Refused::SlowDown { retry_after_ms } => Self::Shed(Shed {
                code: Code::SlowDown,
                retry_after: Duration::from_millis(retry_after_ms),
            }),
            Refused::Unavailable => Self::UNAVAILABLE,
        }
    }
}

/// Why an entry was not taken just now: the code, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed {
    /// The stable reason.
    pub code: Code,
    /// When to try again.
    pub retry_after: Duration,
}

impl Shed {
    const fn soon(code: Code) -> Self {
        Self {
            code,
            retry_after: Duration::from_secs(1),
        }
    }
}

impl From<Shed> for Problem {
    fn from(shed: Shed) -> Self {
        Self::from(shed.code).retry_after(shed.retry_after)
    }
}

impl Appender {
    /// Starts the task that writes batches to `log`.
    #[must_use]
    pub fn start(
        log: Log,
        bus: Bus,
        broadcast: Broadcast,
        entries_per_second: u32,
        metrics: Metrics,
        traces: Traces,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let appender = Self {
            jobs,
            waiting_bytes: Arc::default(),
            channels: Arc::new(Paces::new(entries_per_second, limit::BURST_FACTOR)),
            log: log.clone(),
            bus: bus.clone(),
            metrics: metrics.clone(),
        };
        let waiting_bytes = appender.waiting_bytes.clone();
        tokio::spawn(
            Batches {
                waiting,
                waiting_bytes,
                counts: Counts::new(metrics, log.level()),
                traces,
                log,
                bus,
                broadcast,
            }
            .run(),
        );
        appender
    }

    /// What an `ack` stands for.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.log.level()
    }

    /// Takes an entry and answers when it is in the database; a change of membership, when every
    /// local socket was told too.
    ///
    /// # Errors
    /// `slow_down`, `overloaded`, `unavailable`, all retryable. After `unavailable` the entry may
    /// be there.
    pub async fn append(&self, append: Append) -> Result<Result<Receipt, NotAMember>, Problem> {
        let channel = append.channel;
        let settles = !matches!(append.act, Act::Message { .. });
        let Ok(mut receipt) = self.enqueue(append).await? else {
            return Ok(Err(NotAMember));
        };
        if receipt.level == Level::Queued {
            let position = position(&receipt);
            self.log.stored(channel, position, STORED_WITHIN).await?;
            receipt.level = Level::Stored;
        }
        if settles {
            self.bus.settle().await;
        }
        Ok(Ok(receipt))
    }

    /// Takes an entry and answers when the log has it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn enqueue(&self, append: Append) -> Result<Result<Receipt, NotAMember>, Problem> {
        let (reply, answer) = oneshot::channel();
        self.queue(append, Reply::Caller(reply))
            .inspect_err(|shed| self.metrics.refuse(shed.code))?;
        match answer.await.unwrap_or(Err(Refusal::UNAVAILABLE)) {
            Ok(receipt) => Ok(Ok(receipt)),
            Err(Refusal::NotAMember) => Ok(Err(NotAMember)),
            Err(Refusal::Shed(shed)) => Err(shed.into()),
        }
    }

    /// Takes a heartbeat and answers when the log has it; `None`: it is not taken.
    pub async fn beat(&self, append: Append) -> Option<Receipt> {
        let (reply, answer) = oneshot::channel();
        self.queue(append, Reply::Heartbeat(reply)).ok()?;
        answer.await.ok()?.ok()
    }

    /// Takes a message of a socket, which gets its `ack` or `error` later.
    ///
    /// # Errors
    /// What the socket is to be told at once.
    pub fn submit(
        &self,
        append: Append,
        id: MessageId,
        outbound: &Arc<Outbound>,
    ) -> Result<(), Shed> {
        self.queue(append, Reply::Socket(outbound.clone(), id))
    }

    /// Returns when everything taken before this call has been answered.
    pub async fn idle(&self) {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            append: None,
            reply: Reply::Caller(reply),
            begun: Instant::now(),
        };
        if self.jobs.send(job).await.is_ok() {
            let _ = answer.await;
        }
    }

    fn queue(&self, append: Append, reply: Reply) -> Result<(), Shed> {
        let begun = Instant::now();
        self.pace(append.channel, begun)?;
        let overloaded = Shed::soon(Code::Overloaded);
        let size = size(&append);
        if self.waiting_bytes.fetch_add(size, Ordering::Relaxed) + size > WAITING_BYTES_MAX {
            self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(overloaded);
        }
        let job = Job {
            append: Some(append),
            reply,
            begun,
        };
        self.jobs.try_send(job).map_err(|_| {
            self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            overloaded
        })?;
        self.metrics.queue_entries.inc();
        Ok(())
    }

    fn pace(&self, channel: ChannelId, now: Instant) -> Result<(), Shed> {
        self.channels.take(channel, now).map_err(|retry_after| {
            self.metrics.limited("channel_entries");
            Shed {
                code: Code::SlowDown,
                retry_after,
            }
        })
    }
}

fn size(append: &Append) -> usize {
    match &append.act {
        Act::Message { body, .. } => body.as_str().len(),
        Act::Join | Act::Leave { .. } => 0,
    }
}

/// The task that writes batches.
struct Batches {
    waiting: mpsc::Receiver<Job>,
    waiting_bytes: Arc<AtomicUsize>,
    log: Log,
    bus: Bus,
    broadcast: Broadcast,
    counts: Counts,
    traces: Traces,
}

impl Batches {
    async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let (appends, replies) = self.collect(first);
            if appends.is_empty() {
                continue;
            }
            let begun = Instant::now();
            let (places, entries) = (self.places(&appends), appends.len());
            let answers = self.log.append(appends).await;
            let batch = Written {
                begun,
                ended: Instant::now(),
                entries,
            };
            self.counts.flushed(entries, &answers, begun.elapsed());
            let answers: Vec<Result<Receipt, Refusal>> = match answers {
                Ok(answers) => answers.into_iter().map(translate).collect(),
                Err(error) => {
                    tracing::warn!(%error, entries, "a batch was not taken");
                    let code = match error {
                        banter_storage::Error::Overloaded => Code::Overloaded,
                        _ => Code::Unavailable,
                    };
                    vec![Err(Refusal::Shed(Shed::soon(code))); entries]
                }
            };
            self.answer(replies, places, answers, batch).await;
            self.counts.idle(self.waiting.is_empty());
        }
    }

    /// Everything that waits, up to the limits of a batch.
    fn collect(&mut self, first: Job) -> (Vec<Append>, Vec<(Reply, Instant)>) {
        let mut appends = Vec::new();
        let mut replies = Vec::new();
        let mut bytes = 0;
        if first.append.is_some() {
            self.counts.oldest(first.begun);
        }
        let mut next = Some(first);
        while let Some(job) = next {
            match (job.append, job.reply) {
                (Some(append), reply) => {
                    bytes += size(&append);
                    appends.push(append);
                    replies.push((reply, job.begun));
                }
                // Whoever waits for the queue to be empty is told when this batch is written.
                (None, Reply::Caller(reply)) if appends.is_empty() => {
                    let _ = reply.send(Err(Refusal::UNAVAILABLE));
                }
                (None, reply) => {
                    replies.push((reply, job.begun));
                    break;
                }
            }
            let full =
                appends.len() >= limit::APPEND_BATCH_MAX || bytes >= limit::APPEND_BATCH_BYTES_MAX;
            next = if full {
                None
            } else {
                self.waiting.try_recv().ok()
            };
        }
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.counts.taken(appends.len());
        (appends, replies)
    }

    async fn answer(
        &self,
        replies: Vec<(Reply, Instant)>,
        places: Vec<Place>,
        answers: Vec<Result<Receipt, Refusal>>,
        batch: Written,
    ) {
        let mut acks = Vec::with_capacity(replies.len());
        let mut callers = Vec::new();
        let places = places.into_iter().map(Some).chain(std::iter::repeat(None));
        let answers = answers
            .into_iter()
            .chain(std::iter::repeat(Err(Refusal::UNAVAILABLE)));
        for ((reply, begun), (place, answer)) in replies.into_iter().zip(places.zip(answers)) {
            if !matches!(reply, Reply::Heartbeat(_)) {
                self.counts.answered(&answer, begun.elapsed());
            }
            if let Some(place) = place {
                self.trace(place, &answer, begun, batch);
            }
            match (reply, place) {
                (Reply::Socket(outbound, id), Some(place)) => {
                    acks.push(acknowledgement(outbound, id, place, answer));
                }
                (Reply::Caller(reply) | Reply::Heartbeat(reply), _) => {
                    callers.push((reply, answer));
                }
                (Reply::Socket(..), None) => {}
            }
        }
        self.broadcast.acknowledge(acks).await;
        for (reply, answer) in callers {
            // A caller that has gone away needs no answer.
            let _ = reply.send(answer);
        }
    }

    /// Tells the way of an entry that came in `begun` and is answered now.
    fn trace(
        &self,
        place: Place,
        answer: &Result<Receipt, Refusal>,
        begun: Instant,
        batch: Written,
    ) {
        match answer {
            Ok(receipt) if receipt.fresh => {
                let trail = self.traces.follow(place.channel, position(receipt));
                let Some(trail) = trail else { return };
                trail.tell(Part::Append, batch.begun, batch.ended, batch.entries);
                let whole = Part::Whole(place.kind);
                trail.tell(whole, begun, Instant::now(), batch.entries);
            }
            Err(refusal) if refusal.code().status() >= 500 => {
                let code = refusal.code();
                self.traces.failed(place.channel, place.kind, begun, code);
            }
            _ => {}
        }
    }

    fn places(&self, appends: &[Append]) -> Vec<Place> {
        let place = |append: &Append| Place {
            channel: append.channel,
            kind: match append.act {
                Act::Message { .. } => "message",
                Act::Join => "join",
                Act::Leave { .. } => "leave",
            },
            epoch: self.bus.epoch(append.channel),
        };
        appends.iter().map(place).collect()
    }
}

/// A batch that the log has answered.
#[derive(Debug, Clone, Copy)]
struct Written {
    begun: Instant,
    ended: Instant,
    entries: usize,
}

/// Where an append goes.
#[derive(Debug, Clone, Copy)]
struct Place {
    channel: ChannelId,
    /// What it is, as traces name it.
    kind: &'static str,
    /// The log's epoch as it was known before.
    epoch: Option<Epoch>,
}

fn translate(answer: Answer) -> Result<Receipt, Refusal> {
    answer.map_err(Refusal::from)
}

const fn position(receipt: &Receipt) -> Position {
    Position {
        seq: receipt.seq,
        epoch: receipt.epoch,
    }
}

fn acknowledgement(
    outbound: Arc<Outbound>,
    id: MessageId,
    place: Place,
    answer: Result<Receipt, Refusal>,
) -> Acknowledgement {
    let Place { channel, epoch, .. } = place;
    let mut unstored = None;
    let frame = match answer {
        Ok(receipt) => {
            if receipt.level == Level::Queued {
                let had_under = match epoch {
                    // What was sent before is there again, whatever happened between.
                    Some(epoch) if !receipt.fresh => epoch.max(receipt.epoch),
                    _ => receipt.epoch,
                };
                unstored = Some(Unstored {
                    channel,
                    position: position(&receipt),
                    had_under,
                });
            }
            ServerFrame::Ack(Ack {
                id,
                channel,
                seq: receipt.seq,
                epoch: receipt.epoch,
                level: receipt.level,
                sent_at: receipt.sent_at,
            })
        }
        Err(why) => refusal(why.code(), id.as_str(), channel, why.retry_after()),
    };
    Acknowledgement {
        outbound,
        frame: text_frame(&frame.to_json()),
        unstored,
    }
}

/// The soonest that a refused sender is asked to try again: a channel that is over its rate has
/// room for one message in a millisecond, and whoever comes for it that often only uses up the
/// frames that a socket may send.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(20);

/// The `error` frame about a message.
#[must_use]
pub fn refusal(
    code: Code,
    id: &str,
    channel: ChannelId,
    retry_after: Option<Duration>,
) -> ServerFrame {
    ServerFrame::Error(ErrorFrame {
        id: Some(id.to_owned()),
        channel: Some(channel.to_string()),
        retry_after_ms: retry_after.map(|after| {
            let ms = after.max(RETRY_AFTER_MIN).as_millis();
            u64::try_from(ms).unwrap_or(u64::MAX)
        }),
        ..ErrorFrame::of(code)
    })
}
