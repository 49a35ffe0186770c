//! A worker: takes, stores, commits, in steps between which anything happens.

use crate::install::{Epochs, Link};
use crate::redis::{Channel, Entry, Place, Seq, Token};
use crate::world::World;

pub(crate) struct Worker {
    link: Link,
    at: At,
}

enum At {
    Nothing,
    Seed(Channel, Option<Seq>),
    Taken(Token, Channel, Vec<Entry>),
    /// With the last entry of each epoch in the batch.
    Stored(Token, Channel, Vec<Place>),
}

impl Worker {
    pub(crate) fn new(process: usize) -> Self {
        Self {
            link: Link::new(process),
            at: At::Nothing,
        }
    }

    /// It dies, perhaps between what it stored and telling Redis.
    pub(crate) fn crash(&mut self, world: &mut World) {
        self.link.give_up(world);
        *self = Self::new(self.link.process);
    }

    pub(crate) fn step(&mut self, world: &mut World) -> Result<(), String> {
        // What was taken goes on into the database whatever becomes of Redis meanwhile.
        if let At::Taken(token, channel, batch) = &self.at {
            if world.postgres.is_down {
                return Ok(());
            }
            let stored = world.postgres.store(world.rules, *token, *channel, batch)?;
            let mut marks: Vec<Place> = batch.iter().map(Entry::place).collect();
            marks.dedup_by(|next, last| {
                let same = next.epoch == last.epoch;
                last.seq = if same { next.seq } else { last.seq };
                same
            });
            if !stored {
                self.link.doubt();
            }
            self.at = match stored {
                true => At::Stored(*token, *channel, marks),
                false => At::Nothing,
            };
            return Ok(());
        }
        let Epochs::Known(token) = self.link.token(world) else {
            self.at = At::Nothing;
            return Ok(());
        };
        match std::mem::replace(&mut self.at, At::Nothing) {
            At::Nothing => self.take(world, token),
            At::Seed(channel, None) => {
                if !world.postgres.is_down {
                    self.at = At::Seed(channel, Some(world.postgres.top(channel)));
                }
            }
            At::Seed(channel, Some(top)) => {
                world.redis.data.seed(world.rules, token, channel, top);
            }
            At::Stored(named, channel, marks) => {
                let what = (channel, marks.last().map_or(0, |mark| mark.seq));
                let before = world.redis.data.commit(world.rules, named, world.now, what);
                if let Some(before) = before {
                    for mark in marks.into_iter().filter(|mark| mark.seq > before) {
                        world.stored(channel, mark)?;
                    }
                }
            }
            taken @ At::Taken(..) => self.at = taken,
        }
        Ok(())
    }

    fn take(&mut self, world: &mut World, token: Token) {
        if !world.redis.data.is_current(token) {
            return self.link.forget();
        }
        let Some(channel) = world.redis.data.oldest() else {
            return;
        };
        if world.redis.data.tails[channel].top.is_none() {
            self.at = At::Seed(channel, None);
            return;
        }
        let most = 1 + world.random.below(3);
        match world.redis.data.take(token, channel, most) {
            Some(batch) => self.at = At::Taken(token, channel, batch),
            None => self.link.forget(),
        }
    }
}
