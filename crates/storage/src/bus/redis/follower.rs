//! Follows channels: out of announcements that may be lost, repeated or late it makes entries that
//! are dense and in order. No I/O and no clock: it says what it needs to read, and is told.
//!
//! Of each channel it knows the last entry that it passed on and the epoch under which that was
//! right. The next entry is passed on; an older one is dropped; a jump, a doubt or a new epoch is
//! settled by reading. While that lasts, announcements wait, within bounds.

mod state;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use banter_protocol::id::{ChannelId, Epoch, Position, Seq};

use self::state::{Followed, State};
use crate::bus::Event;
use crate::entries::Record;
use crate::log::{SHARDS, Shard};

/// Announced entries that wait for a channel to be read; more are read as well.
const WAITING_MAX: usize = 256;
/// Entries that wait for all channels together.
const WAITING_ALL_MAX: usize = 16_384;

/// What is to be read of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) channel: ChannelId,
    /// The last entry that was passed on…
    pub(super) last: Seq,
    /// …and the epoch under which that was right.
    pub(super) epoch: Epoch,
    number: u64,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Answer {
    /// The log's epoch.
    pub(super) epoch: Epoch,
    /// The newest entry.
    pub(super) top: Seq,
    /// Whether the entry at the asked number is still the one of the asked epoch or an older one.
    pub(super) kept: bool,
    /// Entries after it, dense; not necessarily all.
    pub(super) records: Vec<Record>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Follower {
    channels: HashMap<ChannelId, Followed>,
    epochs: [Epoch; SHARDS as usize],
    due: VecDeque<ChannelId>,
    /// Questions that were asked.
    questions: u64,
    /// Entries that wait in all channels together.
    waiting: usize,
    events: VecDeque<Event>,
}

impl Follower {
    /// A channel is being subscribed to: from here on its announcements wait.
    pub(super) fn subscribe(&mut self, channel: ChannelId, now: Instant) {
        self.channels
            .entry(channel)
            .or_insert_with(|| Followed::new(now));
    }

    /// The subscription is confirmed, and the log was read after that. A channel that was followed
    /// before goes on where it was.
    pub(super) fn begin(&mut self, channel: ChannelId, head: Position, now: Instant) {
        self.learn(Shard::of(channel), head.epoch);
        let Some(followed) = self.channels.get_mut(&channel) else {
            return;
        };
        if followed.state == State::Beginning {
            followed.last = head.seq;
            followed.epoch = head.epoch;
            followed.state = State::Live;
            self.resume(channel);
        }
        self.compare(channel, head, now);
    }

    /// Nobody listens any more.
    pub(super) fn forget(&mut self, channel: ChannelId) {
        if let Some(followed) = self.channels.remove(&channel) {
            self.waiting -= followed.waiting.len();
        }
    }

    /// Whether somebody listens to the channel.
    pub(super) fn follows(&self, channel: ChannelId) -> bool {
        self.channels.contains_key(&channel)
    }

    /// Entries were announced. `room`: whether they can be passed on now.
    pub(super) fn announce(&mut self, records: Vec<Record>, room: bool, now: Instant) {
        let Some(channel) = records.first().map(|record| record.entry.channel) else {
            return;
        };
        if !self.channels.contains_key(&channel) {
            return;
        }
        if let Some(newest) = records.iter().map(|record| record.entry.epoch).max() {
            self.learn(Shard::of(channel), newest);
        }
        let Some(followed) = self.channels.get_mut(&channel) else {
            return;
        };
        followed.heard = now;
        if !room {
            self.doubt(channel);
            return;
        }
        if followed.state != State::Live {
            let fits = followed.waiting.len() + records.len() <= WAITING_MAX
                && self.waiting + records.len() <= WAITING_ALL_MAX;
            if fits {
                self.waiting += records.len();
                followed.waiting.extend(records);
            } else {
                followed.overflown = true;
            }
            return;
        }
        self.pass(channel, records, Source::Announced);
    }

    /// Whatever the announcements of a channel were, they may have been lost.
    pub(super) fn doubt(&mut self, channel: ChannelId) {
        let Some(followed) = self.channels.get_mut(&channel) else {
            return;
        };
        match followed.state {
            State::Live => {
                followed.state = State::Due;
                self.due.push_back(channel);
            }
            State::Beginning | State::Due | State::Reading(_) => followed.overflown = true,
        }
    }

    /// The log's newest entry of a channel was read.
    pub(super) fn compare(&mut self, channel: ChannelId, head: Position, now: Instant) {
        self.learn(Shard::of(channel), head.epoch);
        if let Some(followed) = self.channels.get_mut(&channel) {
            followed.heard = now;
            if followed.state == State::Live
                && (head.epoch > followed.epoch || head.seq > followed.last)
            {
                self.doubt(channel);
            }
        }
    }

    /// The newest epochs that are known, of each shard.
    pub(super) const fn epochs(&self) -> &[Epoch; SHARDS as usize] {
        &self.epochs
    }

    /// Entries up to there are stored. What is stored stays so, in whatever epoch.
    pub(super) fn store(&mut self, channel: ChannelId, stored: Position) {
        self.learn(Shard::of(channel), stored.epoch);
        let Some(followed) = self.channels.get_mut(&channel) else {
            return;
        };
        if followed.stored < stored.seq {
            followed.stored = stored.seq;
            self.events.push_back(Event::Stored {
                channel,
                position: stored,
            });
        }
    }

    /// A shard has this epoch. A new one puts all its channels in doubt.
    pub(super) fn learn(&mut self, shard: Shard, epoch: Epoch) {
        let known = &mut self.epochs[usize::from(shard.number())];
        if *known >= epoch {
            return;
        }
        let is_first = *known == 0;
        *known = epoch;
        if is_first {
            return;
        }
        self.events.push_back(Event::Lost { shard, epoch });
        let concerned: Vec<_> = self
            .channels
            .keys()
            .filter(|channel| Shard::of(**channel) == shard)
            .copied()
            .collect();
        for channel in concerned {
            self.doubt(channel);
        }
    }

    /// The next channel to read, until [`Self::answer`] or [`Self::fail`].
    pub(super) fn ask(&mut self) -> Option<Question> {
        while let Some(channel) = self.due.pop_front() {
            let Some(followed) = self.channels.get_mut(&channel) else {
                continue;
            };
            if followed.state != State::Due {
                continue;
            }
            self.questions += 1;
            followed.state = State::Reading(self.questions);
            // What is announced from now on may be missing from what is read.
            followed.overflown = false;
            return Some(Question {
                channel,
                last: followed.last,
                epoch: followed.epoch,
                number: self.questions,
            });
        }
        None
    }

    /// A channel could not be read.
    pub(super) fn fail(&mut self, question: Question) {
        if let Some(followed) = self.asked(question) {
            followed.state = State::Due;
            self.due.push_back(question.channel);
        }
    }

    /// A channel was read.
    pub(super) fn answer(&mut self, question: Question, answer: Answer, now: Instant) {
        let channel = question.channel;
        self.learn(Shard::of(channel), answer.epoch);
        let Some(followed) = self.asked(question) else {
            return;
        };
        followed.heard = now;
        followed.state = State::Live;
        let missed = std::mem::take(&mut followed.overflown);
        if answer.epoch < followed.epoch {
            self.doubt(channel);
            return;
        }
        let changed = answer.epoch > followed.epoch;
        followed.epoch = answer.epoch;
        if !answer.kept {
            followed.last = answer.top;
            let head = followed.position();
            self.events.push_back(Event::Rewound { channel, head });
        } else {
            if changed {
                let at = followed.position();
                self.events.push_back(Event::Kept { channel, at });
            }
            self.pass(channel, answer.records, Source::Read);
        }
        let Some(followed) = self.channels.get(&channel) else {
            return;
        };
        if missed || followed.last < answer.top {
            self.doubt(channel);
        }
        self.resume(channel);
    }

    /// What is to be passed on, in order.
    pub(super) fn events(&mut self) -> std::collections::vec_deque::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// The epoch under which a channel is heard; `None`: it is not, or this is being found out.
    pub(super) fn heard(&self, channel: ChannelId) -> Option<Epoch> {
        let followed = self.channels.get(&channel)?;
        let newest = self.epochs[usize::from(Shard::of(channel).number())];
        let sure = followed.state != State::Beginning && followed.epoch >= newest;
        sure.then_some(followed.epoch)
    }

    /// Channels of which nothing was heard for so long.
    pub(super) fn silent(&self, now: Instant, for_at_least: Duration) -> Vec<ChannelId> {
        let silent = |followed: &Followed| {
            followed.state == State::Live
                && now.saturating_duration_since(followed.heard) >= for_at_least
        };
        let channels = self.channels.iter();
        channels
            .filter(|(_, followed)| silent(followed))
            .map(|(channel, _)| *channel)
            .collect()
    }

    #[cfg(test)]
    pub(super) fn has_questions(&self) -> bool {
        !self.due.is_empty()
    }

    /// The channel, if this is what was asked of it: it may have been forgotten and begun again.
    fn asked(&mut self, question: Question) -> Option<&mut Followed> {
        let followed = self.channels.get_mut(&question.channel)?;
        (followed.state == State::Reading(question.number)).then_some(followed)
    }

    /// Passes on what follows without a gap; a gap is to be read.
    fn pass(&mut self, channel: ChannelId, records: Vec<Record>, source: Source) {
        let Some(followed) = self.channels.get_mut(&channel) else {
            return;
        };
        let mut records = records.into_iter();
        let mut next = Vec::new();
        for record in records.by_ref() {
            let at = record.entry.position();
            // What an older epoch announced and the newer one kept was read when it began.
            let void = source == Source::Announced && at.epoch < followed.epoch;
            if at.seq <= followed.last || void {
                continue;
            }
            if at.seq > followed.last + 1 || at.epoch > followed.epoch {
                let rest = std::iter::once(record).chain(records);
                let room = WAITING_ALL_MAX.saturating_sub(self.waiting);
                let before = followed.waiting.len();
                followed.waiting.extend(rest.take(room.min(WAITING_MAX)));
                self.waiting += followed.waiting.len() - before;
                self.doubt(channel);
                break;
            }
            followed.last = at.seq;
            next.push(record);
        }
        if !next.is_empty() {
            self.events.push_back(Event::Entries(next));
        }
    }

    /// Goes on with what was announced meanwhile, unless there is more to read first.
    fn resume(&mut self, channel: ChannelId) {
        let Some(followed) = self.channels.get_mut(&channel) else {
            return;
        };
        if followed.state != State::Live {
            return;
        }
        let waiting = std::mem::take(&mut followed.waiting);
        self.waiting -= waiting.len();
        if std::mem::take(&mut followed.overflown) {
            self.doubt(channel);
        } else {
            self.pass(channel, waiting, Source::Announced);
        }
    }
}

/// Where entries come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Announced,
    Read,
}
