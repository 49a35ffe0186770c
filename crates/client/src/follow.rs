//! Where the client stands in each channel, and what is missing.
//!
//! Whatever arrives by replay, live or by page of history, each entry is delivered once and in the
//! order of the numbers. What comes too early waits while the missing entries are paged.

use std::collections::BTreeMap;

use banter_protocol::id::{ChannelId, Position, Seq};
use banter_protocol::sequence::{Sequence, Step};

use crate::frame::{Entry, Kind, Reason, Reset, Welcome};

/// Most entries of a channel that wait for missing ones; those before them are paged again.
pub const WAITING_MAX: usize = 500;

/// What the user of the connection is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The next entry of its channel.
    Entry(Entry),
    /// Another history: forget what came of the channel after number `from`; it comes again.
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
}

/// A page of history that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Of this channel.
    pub channel: ChannelId,
    /// The oldest entries above this number.
    pub after: Seq,
    /// How often in a row such a page brought nothing: wait before asking again.
    pub fruitless: u32,
    generation: u32,
}

/// A page of history as far as it matters here.
#[derive(Debug, Clone)]
pub struct Page {
    /// Ascending.
    pub entries: Vec<Entry>,
}

/// Every channel of a connection.
#[derive(Debug, Default)]
pub struct Follows {
    me: String,
    channels: BTreeMap<ChannelId, Follow>,
}

#[derive(Debug)]
struct Follow {
    sequence: Sequence,
    /// Where the user began; a restart goes back to it.
    from: Seq,
    /// The number up to which entries are known to be missing or delivered.
    until: Seq,
    /// Arrived too early.
    waiting: BTreeMap<Seq, Entry>,
    paging: bool,
    fruitless: u32,
    /// Counts restarts: a page asked for before one is worthless.
    generation: u32,
    /// The user's own `left` was the last entry.
    ended: bool,
}

impl Follow {
    fn after(position: Position) -> Self {
        Self {
            sequence: Sequence::after(position),
            from: position.seq,
            until: position.seq,
            waiting: BTreeMap::new(),
            paging: false,
            fruitless: 0,
            generation: 0,
            ended: false,
        }
    }

    fn seq(&self) -> Seq {
        self.sequence.position().seq
    }

    fn misses(&self) -> bool {
        self.seq() < self.until
    }

    /// Delivers the entry and what waited for it, or keeps it until its time comes.
    fn take(&mut self, me: &str, entry: Entry, told: &mut Vec<Told>) {
        match self.step(&entry) {
            Step::Repeat => {}
            Step::Apply => {
                self.deliver(me, entry, told);
                self.drain(me, told);
            }
            Step::Gap => {
                self.waiting.insert(entry.seq, entry);
                if self.waiting.len() > WAITING_MAX {
                    self.waiting.pop_first();
                }
                self.expect_waiting();
            }
        }
    }

    fn step(&mut self, entry: &Entry) -> Step {
        let epoch = entry.epoch.unwrap_or(self.sequence.position().epoch);
        self.sequence.accept(Position {
            seq: entry.seq,
            epoch,
        })
    }

    fn deliver(&mut self, me: &str, entry: Entry, told: &mut Vec<Told>) {
        self.ended = matches!(&entry.kind, Kind::Left { user, .. } if user == me);
        told.push(Told::Entry(entry));
    }

    fn drain(&mut self, me: &str, told: &mut Vec<Told>) {
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() > self.sequence.next() {
                break;
            }
            let entry = first.remove();
            if self.step(&entry) == Step::Apply {
                self.deliver(me, entry, told);
            }
        }
        self.expect_waiting();
    }

    fn expect_waiting(&mut self) {
        if let Some((first, _)) = self.waiting.first_key_value() {
            self.until = self.until.max(first - 1);
        }
    }
}

impl Follows {
    /// Begins after these positions; every other channel of the user begins at its head.
    #[must_use]
    pub fn new(positions: BTreeMap<ChannelId, Position>) -> Self {
        let follow = |(channel, position)| (channel, Follow::after(position));
        Self {
            me: String::new(),
            channels: positions.into_iter().map(follow).collect(),
        }
    }

    /// The last delivered entry of every channel, for `resume`.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<ChannelId, Position> {
        let position =
            |(channel, follow): (&ChannelId, &Follow)| (*channel, follow.sequence.position());
        self.channels.iter().map(position).collect()
    }

    /// A socket opened with [`Follows::positions`]; its replay comes next.
    pub fn on_welcome(&mut self, welcome: &Welcome) {
        self.me.clone_from(&welcome.user.username);
        for follow in self.channels.values_mut() {
            // The replay brings it all again, or a reset says how far it must be paged.
            follow.waiting.clear();
            follow.until = follow.seq();
        }
        for (channel, head) in &welcome.channels {
            self.channels
                .entry(*channel)
                .or_insert_with(|| Follow::after(*head));
        }
    }

    /// An entry arrived on the socket.
    pub fn on_entry(&mut self, entry: Entry, told: &mut Vec<Told>) {
        let joins = matches!(&entry.kind, Kind::Joined { user } if *user == self.me);
        let channel = entry.channel;
        // One's own join begins the channel anew: what happened while one was away is no gap.
        let away = self.channels.get(&channel).is_none_or(|f| f.ended);
        if joins && away {
            let before = Position {
                seq: entry.seq.saturating_sub(1),
                epoch: entry.epoch.unwrap_or_default(),
            };
            let gone = self.channels.get(&channel).map_or(0, Follow::seq);
            if before.seq > gone || !self.channels.contains_key(&channel) {
                self.channels.insert(channel, Follow::after(before));
            }
        }
        if let Some(follow) = self.channels.get_mut(&channel) {
            follow.take(&self.me, entry, told);
        }
    }

    /// The server cannot go on after the client's position.
    pub fn on_reset(&mut self, reset: &Reset, told: &mut Vec<Told>) {
        let Some(follow) = self.channels.get_mut(&reset.channel) else {
            return;
        };
        let (Some(seq), Some(epoch)) = (reset.seq, reset.epoch) else {
            self.on_lost(reset.channel, told);
            return;
        };
        match reset.reason {
            Reason::Unavailable => self.on_lost(reset.channel, told),
            Reason::TooFar => follow.until = follow.until.max(seq),
            Reason::Epoch => {
                let from = follow.from.min(seq);
                *follow = Follow {
                    until: seq,
                    generation: follow.generation + 1,
                    ..Follow::after(Position { seq: from, epoch })
                };
                told.push(Told::Restart {
                    channel: reset.channel,
                    from,
                });
            }
        }
    }

    /// The channel is not the user's any more, as the server or a page says.
    pub fn on_lost(&mut self, channel: ChannelId, told: &mut Vec<Told>) {
        if let Some(follow) = self.channels.remove(&channel)
            && !follow.ended
        {
            told.push(Told::Lost { channel });
        }
    }

    /// A page that is needed now; it counts as asked for. Call until `None`.
    pub fn want(&mut self) -> Option<Want> {
        let (channel, follow) = self
            .channels
            .iter_mut()
            .find(|(_, follow)| follow.misses() && !follow.paging)?;
        follow.paging = true;
        Some(Want {
            channel: *channel,
            after: follow.seq(),
            fruitless: follow.fruitless,
            generation: follow.generation,
        })
    }

    /// The page that was asked for arrived; `None`: it did not, for now.
    pub fn on_page(&mut self, want: Want, page: Option<Page>, told: &mut Vec<Told>) {
        let Some(follow) = self.channels.get_mut(&want.channel) else {
            return;
        };
        if follow.generation != want.generation {
            return;
        }
        follow.paging = false;
        let before = follow.seq();
        for entry in page.map_or_else(Vec::new, |page| page.entries) {
            match follow.step(&entry) {
                Step::Repeat => {}
                Step::Apply => follow.deliver(&self.me, entry, told),
                // A page is dense; one that is not is asked for again.
                Step::Gap => break,
            }
        }
        follow.drain(&self.me, told);
        follow.fruitless = if follow.seq() > before {
            0
        } else {
            follow.fruitless.saturating_add(1)
        };
    }
}

#[cfg(test)]
mod tests;
