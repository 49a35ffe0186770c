//! Appending a batch: one script call for each shard in it, all in one round.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use banter_protocol::entry::Level;
use banter_protocol::id::MessageId;
use banter_protocol::limit;
use banter_protocol::time::Timestamp;
use redis::Value;

use super::epochs::Era;
use super::reply::{self, Reply};
use super::shard::{self, Shard};
use super::{APPEND, ATTEMPTS_MAX, RedisLog, record, restless};
use crate::error::{Error, Result};
use crate::log::{Act, Answer, Append, Receipt, Refused};
use crate::redis::Call;

/// An id whose time is older than this may have been forgotten by Redis: half of what it
/// remembers, for clocks differ, and ids may be from the future.
const FRESH_MS: i64 = 5 * 60 * 1000;
/// How long what the database said of an id holds: well below the time for which Redis keeps ids
/// whose entries are stored.
const SAID_MAX: Duration = Duration::from_secs(3);
/// What a channel may save up, in microseconds of its pace.
const BURST_US: u32 = limit::BURST_FACTOR * 1_000_000;

/// A batch on its way.
struct Batch {
    entries: Vec<Append>,
    answers: Vec<Option<Answer>>,
    /// What the database said of entries that it was asked about.
    known: Vec<Option<Receipt>>,
}

impl RedisLog {
    /// See [`crate::log::Log::append`].
    pub(in crate::log) async fn append(&self, entries: Vec<Append>) -> Result<Vec<Answer>> {
        self.shared.memory.admit(&self.shared.redis)?;
        let count = entries.len();
        let mut batch = Batch {
            entries,
            answers: vec![None; count],
            known: vec![None; count],
        };
        let mut asked: Option<(Arc<Era>, Instant)> = None;
        for _ in 0..ATTEMPTS_MAX {
            if batch.answers.iter().all(Option::is_some) {
                return Ok(batch.answers.into_iter().flatten().collect());
            }
            let era = self.era().await?;
            // Rule: what the database said before this epoch began, or long ago, is void.
            let holds = asked.as_ref().is_some_and(|(asked_in, at)| {
                Arc::ptr_eq(asked_in, &era) && at.elapsed() < SAID_MAX
            });
            if !holds {
                asked = Some((Arc::clone(&era), Instant::now()));
                self.ask_database(&era, &mut batch).await;
            }
            if self.attempt(&era, &mut batch).await? {
                self.shared.epochs.forget(&era);
            }
        }
        Err(restless())
    }

    /// One round: whatever is neither stale nor unseeded is answered. Tells whether anything was
    /// stale.
    async fn attempt(&self, era: &Era, batch: &mut Batch) -> Result<bool> {
        let groups = batch.groups();
        let calls: Vec<_> = groups
            .iter()
            .map(|(shard, places)| batch.call(era, *shard, places, self.pace))
            .collect();
        let answers = self.shared.redis.run(era.connection(), &calls).await;
        if matches!(answers, Err(Error::Overloaded)) {
            self.shared.memory.is_full();
        }
        let mut stale = false;
        let mut unseeded = Vec::new();
        for ((shard, places), answer) in groups.iter().zip(answers?) {
            match Reply::read(Some(answer))? {
                Reply::Stale => stale = true,
                Reply::Seed(channels) => unseeded.extend(channels),
                Reply::Done(answers) => batch.read(era, *shard, places, answers)?,
            }
        }
        if !unseeded.is_empty()
            && let Err(error) = self.seed(era, &unseeded).await
        {
            tracing::debug!(%error, "channels cannot be readied for this epoch yet");
            batch.refuse(|append| unseeded.contains(&append.channel));
        }
        Ok(stale)
    }

    /// Asks the database about what Redis may not know. Where it is away, only that is refused.
    async fn ask_database(&self, era: &Era, batch: &mut Batch) {
        let now = now_ms();
        let (mut ids, mut id_places) = (Vec::new(), Vec::new());
        let (mut members, mut member_places) = (Vec::new(), Vec::new());
        batch.known.fill(None);
        for place in batch.unanswered() {
            let append = &batch.entries[place];
            match &append.act {
                Act::Message { id, .. } => {
                    if era.is_young(Shard::of(append.channel)) || !is_fresh(id, now) {
                        ids.push((append.channel, append.user, id));
                        id_places.push(place);
                    }
                }
                Act::Join | Act::Leave { .. } => {
                    members.push((append.channel, append.user));
                    member_places.push(place);
                }
            }
        }
        let database = &self.shared.database;
        let sent = async {
            match ids.is_empty() {
                true => Ok(Vec::new()),
                false => database.messages(&ids).await,
            }
        };
        let joined = async {
            match members.is_empty() {
                true => Ok(Vec::new()),
                false => database.members(&members).await,
            }
        };
        let (sent, joined) = tokio::join!(sent, joined);
        for (places, found) in [(id_places, sent), (member_places, joined)] {
            match found {
                Ok(found) => {
                    for (place, known) in places.into_iter().zip(found) {
                        batch.known[place] = known;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "appends that need the database are refused");
                    for place in places {
                        batch.answers[place] = Some(Err(Refused::Unavailable));
                    }
                }
            }
        }
    }
}

impl Batch {
    fn unanswered(&self) -> impl Iterator<Item = usize> + use<> {
        let places: Vec<_> = (0..self.entries.len())
            .filter(|place| self.answers[*place].is_none())
            .collect();
        places.into_iter()
    }

    fn groups(&self) -> Vec<(Shard, Vec<usize>)> {
        let places: Vec<_> = self.unanswered().collect();
        let groups = shard::grouped(&places, |place| self.entries[*place].channel);
        let group = |(shard, group): (Shard, Vec<usize>)| {
            (shard, group.into_iter().map(|n| places[n]).collect())
        };
        groups.into_iter().map(group).collect()
    }

    fn call(&self, era: &Era, shard: Shard, places: &[usize], pace: u32) -> Call {
        let mut call = APPEND.call(&shard.key("epoch"));
        let cost_us = 1_000_000 / pace;
        call.arg(era.token(shard)).arg(cost_us).arg(BURST_US);
        for place in places {
            let append = &self.entries[*place];
            call.arg(record::hex(append.channel.as_bytes()));
            call.arg(record::hex(append.user.as_bytes()));
            match &append.act {
                Act::Message { id, .. } => call.arg(id_field(append, id)),
                Act::Join | Act::Leave { .. } => call.arg(""),
            };
            call.arg(record::encode(append));
            let known = self.known[*place]
                .as_ref()
                .map(|it| format!("{} {} {}", it.seq, it.epoch, it.sent_at.as_ms()));
            call.arg(known.unwrap_or_default());
        }
        call
    }

    /// Takes the answers of one call: the time first, then one for each entry.
    fn read(
        &mut self,
        era: &Era,
        shard: Shard,
        places: &[usize],
        mut answers: std::vec::IntoIter<Value>,
    ) -> Result<()> {
        let now = Timestamp::from_ms(reply::number(answers.next())?.cast_signed());
        if answers.len() != places.len() {
            return Err(reply::unexpected());
        }
        for (place, answer) in places.iter().zip(answers) {
            let fresh = |seq| Receipt {
                seq,
                epoch: era.epoch(shard),
                sent_at: now,
                level: Level::Queued,
                fresh: true,
            };
            self.answers[*place] = Some(match answer {
                Value::Int(seq) => Ok(fresh(seq.cast_unsigned())),
                other => Self::read_other(&reply::bytes(other)?)?,
            });
        }
        Ok(())
    }

    fn read_other(text: &[u8]) -> Result<Answer> {
        if text == b"NOT" {
            return Ok(Err(Refused::NotAMember));
        }
        let text = std::str::from_utf8(text).map_err(|_| reply::unexpected())?;
        if let Some(ms) = text.strip_prefix("SLOW ") {
            let retry_after_ms = ms.parse().map_err(|_| reply::unexpected())?;
            return Ok(Err(Refused::SlowDown { retry_after_ms }));
        }
        let line = format!("{text} ");
        let (stamp, mark) =
            record::decode_stamp(line.as_bytes()).map_err(|_| reply::unexpected())?;
        Ok(Ok(Receipt {
            seq: stamp.seq,
            epoch: stamp.epoch,
            sent_at: stamp.sent_at,
            level: match mark.first() {
                Some(b'S') => Level::Stored,
                _ => Level::Queued,
            },
            fresh: false,
        }))
    }

    fn refuse(&mut self, refused: impl Fn(&Append) -> bool) {
        for place in self.unanswered() {
            if refused(&self.entries[place]) {
                self.answers[place] = Some(Err(Refused::Unavailable));
            }
        }
    }
}

/// Whether Redis knows an id if it was ever used.
fn is_fresh(id: &MessageId, now_ms: i64) -> bool {
    id.uuid_v7_ms()
        .is_some_and(|made| made > now_ms.saturating_sub(FRESH_MS))
}

/// The field of the dedupe hashes: channel, author and id, as short as can be.
fn id_field(append: &Append, id: &MessageId) -> Vec<u8> {
    let mut field = Vec::with_capacity(1 + 16 + 16 + 36);
    let text = id.as_str();
    let digits = text.replace('-', "");
    let short = record::unhex(&digits)
        .filter(|bytes| uuid::Uuid::from_bytes(*bytes).hyphenated().to_string() == text);
    field.push(if short.is_some() { b'u' } else { b't' });
    field.extend_from_slice(append.channel.as_bytes());
    field.extend_from_slice(append.user.as_bytes());
    match short {
        Some(bytes) => field.extend_from_slice(&bytes),
        None => field.extend_from_slice(text.as_bytes()),
    }
    field
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
