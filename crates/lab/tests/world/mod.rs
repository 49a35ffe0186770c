//! A small chat that does everything right, and what a bad one would have done.

use banter_lab::audit::{Client, Event, Id, What};
use banter_lab::load::chance::Chance;
use banter_protocol::id::Position;

const MEMBERS: u32 = 5;
const CHANNELS: u32 = 2;
const STEPS: usize = 300;
/// Between two steps: a tenth of a second.
const STEP_NS: u64 = 100_000_000;

struct World {
    chance: Chance,
    now: u64,
    events: Vec<Event>,
    /// The entries of each channel.
    logs: Vec<Vec<What>>,
    /// Whether a member is in a channel now.
    inside: Vec<Vec<bool>>,
    /// The last entry that each client has applied or passed over in each channel.
    applied: Vec<Vec<u64>>,
    /// Accepted, and the ack is under way; oldest first, of each client.
    acks: Vec<Vec<Event>>,
    ids: u128,
}

/// What happens in a random world.
pub(crate) fn valid(seed: u64) -> Vec<Event> {
    let (members, channels) = (MEMBERS as usize, CHANNELS as usize);
    let mut world = World {
        chance: Chance::new(seed ^ 0xabcd),
        now: 1,
        events: Vec::new(),
        logs: vec![vec![What::Tombstone]; channels],
        inside: vec![vec![true; members]; channels],
        applied: vec![vec![1; members]; channels],
        acks: vec![Vec::new(); members],
        ids: u128::from(seed) << 64,
    };
    for client in 0..MEMBERS {
        let member = client;
        world.events.push(Event::Opened { client, member });
        for channel in 0..CHANNELS {
            world.events.push(Event::Member { channel, member });
            world.events.push(Event::Reading {
                client,
                channel,
                after: 1,
            });
        }
    }
    for _ in 0..STEPS {
        world.step();
    }
    world.end();
    world.events
}

impl World {
    fn step(&mut self) {
        self.now += STEP_NS;
        let client = u32::try_from(self.chance.below(MEMBERS as usize)).unwrap();
        let channel = u32::try_from(self.chance.below(CHANNELS as usize)).unwrap();
        match self.chance.pick(&[30.0, 50.0, 20.0, 3.0, 1.0, 1.0]) {
            0 => self.send(client, channel),
            1 => {
                self.deliver(client, channel);
            }
            2 => self.ack(client),
            3 => self.move_member(client, channel),
            4 => self.skip(client, channel, false),
            _ => self.skip(client, channel, true),
        }
    }

    fn at(&self, channel: u32) -> Position {
        let seq = self.logs[channel as usize].len() as u64;
        Position { seq, epoch: 1 }
    }

    fn send(&mut self, client: Client, channel: u32) {
        if !self.inside[channel as usize][client as usize] {
            return;
        }
        self.ids += 1;
        let (id, content) = (self.ids, self.chance.number());
        let at = self.now;
        self.events.push(Event::Invoked {
            at,
            client,
            channel,
            id,
            content,
        });
        let fate = self.chance.pick(&[80.0, 10.0, 5.0, 5.0]);
        if fate == 0 || fate == 2 {
            self.logs[channel as usize].push(What::Message {
                author: client,
                id,
                content,
            });
        }
        match fate {
            0 => {
                let position = self.at(channel);
                self.acks[client as usize].push(Event::Acked {
                    at: 0,
                    client,
                    channel,
                    id,
                    position,
                });
            }
            1 => self.events.push(Event::Failed {
                client,
                channel,
                id,
            }),
            _ => {}
        }
    }

    fn ack(&mut self, client: Client) {
        let acks = &mut self.acks[client as usize];
        if !acks.is_empty() {
            let mut ack = acks.remove(0);
            if let Event::Acked { at, .. } = &mut ack {
                *at = self.now;
            }
            self.events.push(ack);
        }
    }

    /// The next entry that this client is to hear of a channel.
    fn deliver(&mut self, client: Client, channel: u32) -> bool {
        let log = &self.logs[channel as usize];
        let applied = &mut self.applied[channel as usize][client as usize];
        // Whether the client was inside when the entry was written.
        let mut inside = true;
        for (seq, what) in (1..).zip(log) {
            let own = *what == What::Joined(client) || *what == What::Left(client);
            if *what == What::Joined(client) {
                inside = true;
            }
            let hears = inside || own;
            if *what == What::Left(client) {
                inside = false;
            }
            if seq > *applied && hears {
                *applied = seq;
                self.events.push(Event::Delivered {
                    at: self.now,
                    client,
                    channel,
                    position: Position { seq, epoch: 1 },
                    what: *what,
                });
                return true;
            }
        }
        false
    }

    fn move_member(&mut self, client: Client, channel: u32) {
        let inside = &mut self.inside[channel as usize][client as usize];
        *inside = !*inside;
        self.logs[channel as usize].push(if *inside {
            What::Joined(client)
        } else {
            What::Left(client)
        });
    }

    /// The client does not resume, or the server cannot prove continuity.
    fn skip(&mut self, client: Client, channel: u32, reset: bool) {
        if !self.inside[channel as usize][client as usize] {
            return;
        }
        let after = self.at(channel).seq;
        self.applied[channel as usize][client as usize] = after;
        self.events.push(if reset {
            Event::Reset {
                client,
                channel,
                after: Some(after),
            }
        } else {
            Event::Reading {
                client,
                channel,
                after,
            }
        });
    }

    fn end(&mut self) {
        for client in 0..MEMBERS {
            while !self.acks[client as usize].is_empty() {
                self.now += STEP_NS;
                self.ack(client);
            }
            for channel in 0..CHANNELS {
                while self.deliver(client, channel) {}
                self.events.push(Event::Settled { client, channel });
            }
        }
        for channel in 0..CHANNELS {
            for (seq, what) in (1..).zip(&self.logs[channel as usize]).skip(1) {
                self.events.push(Event::Page {
                    channel,
                    position: Position { seq, epoch: 1 },
                    what: *what,
                });
            }
        }
    }
}

/// Where history has a message.
pub(crate) fn position(events: &[Event], wanted: Id) -> Option<Position> {
    events.iter().find_map(|event| match event {
        Event::Page {
            position,
            what: What::Message { id, .. },
            ..
        } if *id == wanted => Some(*position),
        _ => None,
    })
}

/// Exchanges the numbers of two messages, wherever they are told.
pub(crate) fn relabel(events: &mut [Event], first: Id, second: Id) -> Option<()> {
    let (a, b) = (position(events, first)?, position(events, second)?);
    let mut contents = Vec::new();
    for event in events.iter() {
        if let Event::Page { what, .. } = event
            && let What::Message { id, .. } = what
            && [first, second].contains(id)
        {
            contents.push((*id, *what));
        }
    }
    let of = |wanted| {
        contents
            .iter()
            .find(|(id, _)| *id == wanted)
            .map(|(_, what)| *what)
    };
    let (what_a, what_b) = (of(first)?, of(second)?);
    for event in events {
        match event {
            Event::Acked { id, position, .. } if *id == first => *position = b,
            Event::Acked { id, position, .. } if *id == second => *position = a,
            Event::Delivered { what, .. } | Event::Page { what, .. } => {
                if *what == what_a {
                    *what = what_b;
                } else if *what == what_b {
                    *what = what_a;
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// Two messages of one client to one channel, the second sent before the first was acked.
pub(crate) fn pipelined(events: &[Event]) -> Option<(Id, Id)> {
    let acked = |wanted: Id| {
        events
            .iter()
            .position(|event| matches!(event, Event::Acked { id, .. } if *id == wanted))
    };
    let mut sent: Vec<(Client, u32, Id)> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let Event::Invoked {
            client,
            channel,
            id,
            ..
        } = event
        else {
            continue;
        };
        let before = sent
            .iter()
            .rfind(|(by, to, _)| (by, to) == (client, channel));
        if let Some((_, _, first)) = before
            && acked(*first).is_some_and(|ack| ack > at)
            && acked(*id).is_some()
        {
            return Some((*first, *id));
        }
        sent.push((*client, *channel, *id));
    }
    None
}

/// A delivery to somebody who has left and not come back, and where to put it.
pub(crate) fn after_leaving(events: &[Event]) -> Option<(usize, Event)> {
    for (at, event) in events.iter().enumerate() {
        let Event::Delivered {
            client,
            channel,
            position,
            what: What::Left(member),
            ..
        } = event
        else {
            continue;
        };
        if member != client {
            continue;
        }
        let missed = events.iter().find_map(|other| match other {
            Event::Page {
                channel: c,
                position: p,
                what,
            } if c == channel && p.seq == position.seq + 1 => Some((*p, *what)),
            _ => None,
        });
        let (position, what) = missed?;
        if what == What::Joined(*client) {
            continue;
        }
        return Some((
            at + 1,
            Event::Delivered {
                at: 1,
                client: *client,
                channel: *channel,
                position,
                what,
            },
        ));
    }
    None
}

/// Two acked messages to one channel, the second sent by another client after the first's ack.
pub(crate) fn one_after_another(events: &[Event]) -> Option<(Id, Id)> {
    let acks = |event: &Event| match event {
        Event::Acked {
            client,
            channel,
            id,
            ..
        } => Some((*client, *channel, *id)),
        _ => None,
    };
    let all: Vec<_> = events.iter().filter_map(acks).collect();
    let mut before = Vec::new();
    for event in events {
        before.extend(acks(event));
        let Event::Invoked {
            client,
            channel,
            id,
            ..
        } = event
        else {
            continue;
        };
        let first = before
            .iter()
            .find(|(by, to, _)| to == channel && by != client);
        if let Some((_, _, first)) = first
            && all.iter().any(|(_, _, acked)| acked == id)
        {
            return Some((*first, *id));
        }
    }
    None
}

/// The place of a delivery that is followed by a promise of continuity, so that it can be missed:
/// what a client passes over on its own will, or by a reset, nobody can miss.
pub(crate) fn provable(events: &[Event], chance: &mut Chance) -> usize {
    loop {
        let at = chance.below(events.len());
        let Event::Delivered {
            client, channel, ..
        } = events[at]
        else {
            continue;
        };
        let next = events[at + 1..].iter().find_map(|event| match event {
            Event::Delivered {
                client: a,
                channel: b,
                ..
            }
            | Event::Settled {
                client: a,
                channel: b,
            } if (*a, *b) == (client, channel) => Some(true),
            Event::Reading {
                client: a,
                channel: b,
                ..
            }
            | Event::Reset {
                client: a,
                channel: b,
                ..
            } if (*a, *b) == (client, channel) => Some(false),
            _ => None,
        });
        if next == Some(true) {
            return at;
        }
    }
}
