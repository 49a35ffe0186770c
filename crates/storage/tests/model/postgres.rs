//! PostgreSQL: entries, members, the epoch, one advisory lock. A transaction is one step.

use std::collections::BTreeMap;

use crate::redis::{Act, CHANNELS, Channel, Entry, Epoch, Place, Seq, Token, User};
use crate::rules::{Rule, Rules};

#[derive(Default)]
pub(crate) struct Postgres {
    pub(crate) entries: [BTreeMap<Seq, Entry>; CHANNELS],
    messages: BTreeMap<usize, (Channel, Seq)>,
    members: BTreeMap<(Channel, User), Place>,
    pub(crate) epoch: Epoch,
    pub(crate) installed: Epoch,
    /// Who holds the lock under which epochs begin.
    pub(crate) lock: Option<usize>,
    pub(crate) is_down: bool,
}

impl Postgres {
    pub(crate) fn top(&self, channel: Channel) -> Seq {
        self.entries[channel].keys().last().copied().unwrap_or(0)
    }

    pub(crate) fn message(&self, id: usize) -> Option<Place> {
        let (channel, seq) = self.messages.get(&id)?;
        self.entries[*channel].get(seq).map(Entry::place)
    }

    pub(crate) fn member(&self, channel: Channel, user: User) -> Option<Place> {
        self.members.get(&(channel, user)).copied()
    }

    /// What is known of what somebody wants to append.
    pub(crate) fn known(&self, channel: Channel, act: Act) -> Option<Place> {
        match act {
            Act::Message(id) => self.message(id),
            Act::Join(user) | Act::Leave(user) => self.member(channel, user),
        }
    }

    /// A worker's transaction; `Ok(false)`: its epoch is over.
    pub(crate) fn store(
        &mut self,
        rules: Rules,
        token: Token,
        channel: Channel,
        batch: &[Entry],
    ) -> Result<bool, String> {
        if rules.keep(Rule::Fence) && self.epoch != token.epoch {
            return Ok(false);
        }
        for entry in batch {
            if let Some(there) = self.entries[channel].get(&entry.seq) {
                if there != entry {
                    return Err(format!("{entry:?} comes where {there:?} stands"));
                }
                continue;
            }
            if entry.seq != self.top(channel) + 1 {
                return Err(format!(
                    "{entry:?} comes after number {}",
                    self.top(channel)
                ));
            }
            match entry.act {
                Act::Message(id) => {
                    if let Some(first) = self.messages.insert(id, (channel, entry.seq)) {
                        return Err(format!("{entry:?} was stored before as {first:?}"));
                    }
                }
                Act::Join(user) => {
                    if let Some(first) = self.members.insert((channel, user), entry.place()) {
                        return Err(format!("{entry:?} of a member since {first:?}"));
                    }
                }
                Act::Leave(user) => {
                    if self.members.remove(&(channel, user)).is_none() {
                        return Err(format!("{entry:?} of nobody who is a member"));
                    }
                }
            }
            self.entries[channel].insert(entry.seq, *entry);
        }
        Ok(true)
    }
}
