//! One random history, and what must hold in it.

use std::collections::BTreeMap;

use crate::clients::{Clients, Send};
use crate::gateway::Gateway;
use crate::postgres::Postgres;
use crate::random::Random;
use crate::redis::{Act, CHANNELS, Channel, Entry, Place, Redis, Time};
use crate::rules::{Rule, Rules};
use crate::worker::Worker;

const STEPS: usize = 800;
/// Steps that a process may be held up, with whatever it has begun.
const NAP: usize = 80;
/// Steps in which all that was sent must be stored once nothing goes wrong any more.
const CLOSING_STEPS: usize = 4_000;

pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) random: Random,
    pub(crate) now: Time,
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    pub(crate) clients: Clients,
    /// What any member was ever shown at a position.
    shown: BTreeMap<(Channel, Place), Act>,
    /// Whether Redis ever lost anything.
    lost: bool,
}

/// Plays a history; tells the first promise that it breaks.
pub(crate) fn run(seed: u64, rules: Rules) -> Result<(), String> {
    let mut world = World {
        rules,
        random: Random::new(seed),
        now: 100,
        redis: Redis::new(),
        postgres: Postgres::default(),
        clients: Clients::default(),
        shown: BTreeMap::new(),
        lost: false,
    };
    let mut gateways = [Gateway::new(0), Gateway::new(1)];
    let mut workers = [Worker::new(2), Worker::new(3)];
    // In some histories the workers lag behind all the time, in some little goes wrong.
    let gateways_share = [55, 75, 90][world.random.below(3)];
    let wild = world.random.percent(50);
    let mut asleep_until = [0; 4];
    for step in 0..STEPS {
        world.time_passes();
        let one = world.random.below(2);
        // Whoever begins an epoch is held up, or dies, more often: much hangs on its steps.
        if let Some(process) = world.postgres.lock {
            match world.random.below(100) {
                0..5 => asleep_until[process] = step + world.random.below(NAP),
                5..12 if process < 2 => gateways[process].crash(&mut world),
                5..12 => workers[process - 2].crash(&mut world),
                _ => {}
            }
        }
        match world.random.below(100) {
            share if share < gateways_share && asleep_until[one] <= step => {
                gateways[one].step(&mut world)?;
            }
            share if share < 95 && asleep_until[2 + one] <= step => {
                workers[one].step(&mut world)?
            }
            95 => gateways[one].crash(&mut world),
            96 => workers[one].crash(&mut world),
            97 => asleep_until[world.random.below(4)] = step + world.random.below(NAP),
            98 | 99 if wild => world.fault(),
            98 => world.fault(),
            _ => {}
        }
    }
    world.clients.is_closing = true;
    world.postgres.is_down = false;
    for _ in 0..CLOSING_STEPS {
        if world.clients.is_done() && world.redis.data.oldest().is_none() {
            return world.check_end();
        }
        world.time_passes();
        let one = world.random.below(2);
        gateways[one].step(&mut world)?;
        workers[one].step(&mut world)?;
    }
    Err("it does not come to rest".into())
}

impl World {
    fn time_passes(&mut self) {
        self.now += Time::from(self.random.percent(12));
        if self.random.percent(20) {
            self.redis.remember();
        }
        if self.postgres.is_down && self.random.percent(4) {
            self.postgres.is_down = false;
        }
    }

    fn fault(&mut self) {
        match self.random.below(12) {
            0 | 1 => self.redis.restart(),
            2 | 3 => {
                let back = self.random.below(5);
                self.redis.restart_with_past(back);
                self.lost = true;
            }
            4 | 5 => {
                let back = self.random.below(100);
                self.redis.restart_with_past(back);
                self.lost = true;
            }
            6..=8 => {
                self.redis.empty();
                self.lost = true;
            }
            9 => self.postgres.is_down = true,
            // A session ends, and its lock with it, while its process goes on.
            10 => self.postgres.lock = None,
            // A pause: ids grow old.
            _ => self.now += 4,
        }
    }

    /// Members see an entry. Promise: a position never shows anything else.
    pub(crate) fn show(&mut self, channel: Channel, entry: Entry) -> Result<(), String> {
        let mut place = entry.place();
        if !self.rules.keep(Rule::EpochInPosition) {
            place.epoch = 0;
        }
        match self.shown.insert((channel, place), entry.act) {
            Some(other) if other != entry.act => Err(format!(
                "{place:?} of {channel} shows {other:?}, then {:?}",
                entry.act
            )),
            _ => Ok(()),
        }
    }

    /// A client hears of its send. Promise: a retry has the first number, unless that was lost.
    pub(crate) fn answer(
        &mut self,
        send: Send,
        place: Option<Place>,
        is_stored: bool,
    ) -> Result<(), String> {
        let Act::Message(id) = send.act else {
            return Ok(());
        };
        let place = place.ok_or("a message was refused")?;
        let first = self.clients.answered(id, place);
        if is_stored {
            self.is_stored(id)?;
        }
        let Some(first) = first.filter(|first| *first != place) else {
            return Ok(());
        };
        let is_kept = self
            .entry_at(send.channel, first)
            .is_some_and(|it| it.act == send.act);
        if is_kept || !self.lost {
            return Err(format!("message {id} was {first:?}, and again {place:?}"));
        }
        Ok(())
    }

    fn entry_at(&self, channel: Channel, place: Place) -> Option<Entry> {
        let stored = self.postgres.entries[channel].get(&place.seq);
        let waiting = self.redis.data.tails[channel].list.iter();
        stored
            .into_iter()
            .chain(waiting)
            .find(|entry| entry.place() == place)
            .copied()
    }

    /// Members hear `stored`. Promise: what was acknowledged up to there is in the database.
    pub(crate) fn stored(&mut self, channel: Channel, mark: Place) -> Result<(), String> {
        for id in 0..self.clients.messages.len() {
            let message = &self.clients.messages[id];
            let first = message
                .first
                .filter(|_| message.acked && message.channel == channel);
            if first.is_some_and(|first| first.epoch == mark.epoch && first.seq <= mark.seq) {
                self.is_stored(id)?;
            }
        }
        Ok(())
    }

    fn is_stored(&mut self, id: usize) -> Result<(), String> {
        let message = &mut self.clients.messages[id];
        message.stored = true;
        match self.postgres.message(id) == message.first {
            true => Ok(()),
            false => Err(format!("message {id}, {:?}, is not stored", message.first)),
        }
    }

    fn check_end(&mut self) -> Result<(), String> {
        for channel in 0..CHANNELS {
            let stored: Vec<_> = self.postgres.entries[channel].values().copied().collect();
            for (n, entry) in (1..).zip(&stored) {
                if entry.seq != n {
                    return Err(format!("entry {n} of {channel} is missing"));
                }
                self.show(channel, *entry)?;
            }
        }
        for (id, message) in self.clients.messages.iter().enumerate() {
            if self.postgres.message(id) != message.first {
                return Err(format!(
                    "message {id}, {:?}, is not what is stored",
                    message.first
                ));
            }
        }
        Ok(())
    }
}
