//! Redis: one shard's data, and the scripts, each of which is one step.

use std::collections::BTreeMap;

use crate::rules::{Rule, Rules};

pub(crate) type Seq = u64;
pub(crate) type Epoch = u64;
pub(crate) type Time = u64;
pub(crate) type Channel = usize;
pub(crate) type User = usize;
pub(crate) type Run = u64;

pub(crate) const CHANNELS: usize = 2;
/// How long ids are remembered, and how long they are fresh.
pub(crate) const REMEMBER: Time = 10;
pub(crate) const FRESH: Time = 5;
/// How long ids are kept after the last of them was stored; a gateway's question is not older.
pub(crate) const GRACE: Time = 3;

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Message(usize),
    Join(User),
    Leave(User),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) at: Time,
    pub(crate) act: Act,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
}

impl Entry {
    pub(crate) fn place(&self) -> Place {
        Place {
            seq: self.seq,
            epoch: self.epoch,
        }
    }
}

/// The epoch's copy in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) epoch: Epoch,
    /// The server process it is open on.
    pub(crate) open_on: Option<Run>,
    /// When it replaced another.
    pub(crate) since: Option<Time>,
}

/// What callers name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) epoch: Epoch,
    pub(crate) run: Run,
    pub(crate) young_until: Time,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    /// Known if and only if the channel was touched in this epoch.
    pub(crate) top: Option<Seq>,
    pub(crate) stored: Seq,
    base: Seq,
    pub(crate) list: Vec<Entry>,
    /// Set if and only if the list is not empty.
    pub(crate) score: Option<Time>,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Joined(Place),
    Left(Seq),
}

/// All data of the shard. A copy of it is what a restart may bring back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    pub(crate) installed: Option<Installed>,
    pub(crate) tails: [Tail; CHANNELS],
    ids: [BTreeMap<usize, Place>; 2],
    changes: [BTreeMap<(Channel, User), Change>; 2],
    began: Option<Time>,
    clean: Option<Time>,
}

pub(crate) enum Reply {
    Stale,
    Seed,
    /// The first answer, and whether that entry is in the database.
    Known(Place, bool),
    New(Entry),
    NotAMember,
}

impl Data {
    /// What every script begins with.
    pub(crate) fn is_current(&self, token: Token) -> bool {
        let now = self.installed;
        now.is_some_and(|it| it.epoch == token.epoch && it.open_on == Some(token.run))
    }

    /// append.lua; `known` is what the database said.
    pub(crate) fn append(
        &mut self,
        rules: Rules,
        token: Token,
        now: Time,
        (channel, act): (Channel, Act),
        known: Option<Place>,
    ) -> Reply {
        if !self.is_current(token) {
            return Reply::Stale;
        }
        let Some(top) = self.tails[channel].top else {
            return Reply::Seed;
        };
        let first = match act {
            Act::Message(id) => self
                .ids
                .iter()
                .find_map(|ids| ids.get(&id))
                .copied()
                .or(known),
            Act::Join(user) => self.membership(rules, channel, user, known),
            Act::Leave(user) => match self.membership(rules, channel, user, known) {
                None => return Reply::NotAMember,
                Some(_) => None,
            },
        };
        if let Some(first) = first {
            return Reply::Known(first, first.seq <= self.tails[channel].stored);
        }
        let entry = Entry {
            seq: top + 1,
            epoch: token.epoch,
            at: now,
            act,
        };
        let tail = &mut self.tails[channel];
        tail.top = Some(entry.seq);
        tail.list.push(entry);
        tail.score.get_or_insert(now);
        self.began.get_or_insert(now);
        match act {
            Act::Message(id) => {
                self.ids[0].insert(id, entry.place());
            }
            Act::Join(user) => {
                let change = Change::Joined(entry.place());
                self.changes[0].insert((channel, user), change);
            }
            Act::Leave(user) => {
                self.changes[0].insert((channel, user), Change::Left(entry.seq));
            }
        }
        Reply::New(entry)
    }

    fn membership(
        &self,
        rules: Rules,
        channel: Channel,
        user: User,
        known: Option<Place>,
    ) -> Option<Place> {
        let base = self.tails[channel].base;
        let change = self.changes.iter().find_map(|it| it.get(&(channel, user)));
        let (seq, joined) = match change {
            Some(Change::Joined(place)) => (place.seq, Some(*place)),
            Some(Change::Left(seq)) => (*seq, None),
            None => return known,
        };
        let counts = rules.keep(Rule::Overlay) && (seq > base || !rules.keep(Rule::Base));
        if counts { joined } else { known }
    }

    /// seed.lua.
    pub(crate) fn seed(&mut self, rules: Rules, token: Token, channel: Channel, database: Seq) {
        let current = self.is_current(token);
        let tail = &mut self.tails[channel];
        if !current || tail.top.is_some() {
            return;
        }
        if rules.keep(Rule::Seeding) {
            tail.stored = tail.stored.max(database);
        }
        tail.list.retain(|entry| entry.seq > tail.stored);
        tail.top = Some(tail.stored + tail.list.len() as Seq);
        tail.base = tail.stored;
        tail.score = tail.list.first().map(|entry| entry.at);
    }

    /// The oldest channel that waits.
    pub(crate) fn oldest(&self) -> Option<Channel> {
        let waiting = (0..CHANNELS).filter_map(|n| Some((self.tails[n].score?, n)));
        waiting.min().map(|(_, channel)| channel)
    }

    /// take.lua.
    pub(crate) fn take(&self, token: Token, channel: Channel, most: usize) -> Option<Vec<Entry>> {
        let tail = &self.tails[channel];
        let list = || tail.list.iter().take(most).copied().collect();
        (self.is_current(token) && tail.top.is_some()).then(list)
    }

    /// commit.lua; gives the number up to which it was stored before, where that is told.
    pub(crate) fn commit(
        &mut self,
        rules: Rules,
        token: Token,
        now: Time,
        (channel, up_to): (Channel, Seq),
    ) -> Option<Seq> {
        if !self.is_current(token) {
            return None;
        }
        let tail = &mut self.tails[channel];
        let stored = up_to.min(tail.top.unwrap_or(0));
        let before = tail.stored;
        let rose = stored > before;
        if rose {
            tail.stored = stored;
            tail.list.retain(|entry| entry.seq > stored);
            let remaining = tail.list.first().map(|entry| entry.at);
            tail.score = match rules.keep(Rule::OldestRemaining) {
                true => remaining,
                false => remaining.map(|_| now),
            };
        }
        self.forget(rules, now);
        rose.then_some(before)
    }

    fn forget(&mut self, rules: Rules, now: Time) {
        let Some(began) = self.began else { return };
        if now - began < REMEMBER {
            return;
        }
        let oldest = self.tails.iter().filter_map(|tail| tail.score).min();
        if rules.keep(Rule::ForgetStored) && oldest.is_some_and(|at| at <= began) {
            return;
        }
        let clean = *self.clean.get_or_insert(now);
        if now - clean < GRACE && rules.keep(Rule::ForgetStored) {
            return;
        }
        self.ids[1] = std::mem::take(&mut self.ids[0]);
        self.changes[1] = std::mem::take(&mut self.changes[0]);
        (self.began, self.clean) = (None, None);
    }

    /// install.lua, and open.lua where it is not a step of its own; `false`: too late.
    pub(crate) fn install(&mut self, rules: Rules, epoch: Epoch, installed: Epoch) -> bool {
        let here = self.installed.map_or(0, |it| it.epoch);
        if here >= epoch {
            return false;
        }
        if here < installed && rules.keep(Rule::Wipe) {
            *self = Self::default();
        }
        for tail in &mut self.tails {
            tail.top = None;
        }
        self.installed = Some(Installed {
            epoch,
            open_on: None,
            since: None,
        });
        true
    }

    /// open.lua.
    pub(crate) fn open(&mut self, epoch: Epoch, run: Run, since: Option<Time>) -> bool {
        let closed = self
            .installed
            .filter(|it| it.epoch == epoch && it.open_on.is_none());
        if closed.is_some() {
            self.installed = Some(Installed {
                epoch,
                open_on: Some(run),
                since,
            });
        }
        closed.is_some()
    }
}

/// The server.
pub(crate) struct Redis {
    pub(crate) run: Run,
    pub(crate) data: Data,
    /// States that a restart may bring back.
    past: Vec<Data>,
}

impl Redis {
    pub(crate) fn new() -> Self {
        Self {
            run: 1,
            data: Data::default(),
            past: Vec::new(),
        }
    }

    /// Remembers the state as one that a torn or old file would bring back.
    pub(crate) fn remember(&mut self) {
        self.past.push(self.data.clone());
    }

    /// Restarts with nothing lost.
    pub(crate) fn restart(&mut self) {
        self.run += 1;
    }

    /// Restarts with the state that was remembered `back` times ago.
    pub(crate) fn restart_with_past(&mut self, back: usize) {
        self.run += 1;
        let at = self.past.len().saturating_sub(1 + back);
        self.past.truncate(at + 1);
        self.data = self.past.last().cloned().unwrap_or_default();
    }

    /// FLUSHALL.
    pub(crate) fn empty(&mut self) {
        self.data = Data::default();
    }
}
