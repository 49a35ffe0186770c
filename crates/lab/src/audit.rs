//! The one history checker: what clients saw, held against the promises.
//!
//! Whoever puts load on a server tells an [`Audit`] what happened, as [`Event`]s, while it happens:
//! sends and their answers, deliveries, resets, memberships, and at the end every page of history.
//! Deliveries are condensed at once, so millions of them cost no memory: a client's place in a
//! channel is a few runs of numbers, and what a number means is kept once. Several audits (one in
//! each generator) are put together with [`Audit::absorb`]. [`Audit::finish`] judges.
//!
//! ```
//! use banter_lab::audit::{Audit, Event, Rule, What, fingerprint};
//! use banter_protocol::id::Position;
//!
//! let (ann, lounge, position) = (0, 0, Position { seq: 1, epoch: 1 });
//! let (id, content) = (fingerprint("my id"), 17);
//! let what = What::Message { author: ann, id, content };
//! let mut audit = Audit::default();
//! audit.take(Event::Member { channel: lounge, member: ann });
//! audit.take(Event::Opened { client: 0, member: ann });
//! audit.take(Event::Reading { client: 0, channel: lounge, after: 0 });
//! audit.take(Event::Invoked { at: 1, client: 0, channel: lounge, id, content });
//! audit.take(Event::Acked { at: 2, client: 0, channel: lounge, id, position });
//! // Nothing is delivered, although it has time to be.
//! audit.take(Event::Settled { client: 0, channel: lounge });
//! audit.take(Event::Page { channel: lounge, position, what });
//! let report = audit.finish();
//! assert_eq!(report.broken(), [Rule::Order]);
//! ```

mod finding;
mod judge;
mod reading;
mod send;

use std::collections::{BTreeMap, HashMap, HashSet};

use banter_protocol::id::{Epoch, Position, Seq};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::finding::{Findings, Place};
use self::reading::Reading;
use self::send::Sent;

pub use self::finding::{Finding, Flaw, Names, Report, Rule};

/// How long after its session has ended a client may still hear something: 2 s, in nanoseconds.
const REVOKED_GRACE_NS: u64 = 2_000_000_000;

/// A channel, by a number that the caller gives it.
pub type Channel = u32;
/// A user, by a number that the caller gives; [`STRANGER`] for those who are not part of the test.
pub type Member = u32;
/// One program of a member, which reads and sends, over reconnects, by a number of the caller's.
pub type Client = u32;
/// A message's id, as [`fingerprint`] makes it.
pub type Id = u128;

/// Somebody whose sends the caller does not know.
pub const STRANGER: Member = u32::MAX;

/// The number for a message's id: that of a UUID, or a hash of any other text.
#[must_use]
pub fn fingerprint(id: &str) -> Id {
    match Uuid::try_parse(id) {
        Ok(uuid) => uuid.as_u128(),
        Err(_) => {
            let (high, low) = (hash(id.as_bytes(), 1), hash(id.as_bytes(), 2));
            u128::from(high) << 64 | u128::from(low)
        }
    }
}

/// A number for a message's body, to tell it from others.
#[must_use]
pub fn content(body: &[u8]) -> u64 {
    hash(body, 0)
}

/// Eight bytes a step; good against mistakes, not against malice.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = (bytes.len() as u64).wrapping_add(seed).wrapping_mul(PRIME);
    let mix = |state: u64, word: u64| (state ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    for byte in rest {
        state = mix(state, u64::from(*byte));
    }
    state = (state ^ (state >> 31)).wrapping_mul(PRIME);
    state ^ (state >> 29)
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Somebody wrote.
    Message {
        /// Who.
        author: Member,
        /// The author's id for it.
        id: Id,
        /// What, by [`content`].
        content: u64,
    },
    /// Somebody became a member.
    Joined(Member),
    /// Somebody's membership ended.
    Left(Member),
    /// Something that cannot be stored.
    Tombstone,
}

/// Something that happened. Times are nanoseconds of one clock for all clients, such as the
/// machine's monotonic one; events of one client come in the order in which they happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody was a member before anything else happened.
    Member {
        /// Of which channel.
        channel: Channel,
        /// Who.
        member: Member,
    },
    /// A client belongs to a member.
    Opened {
        /// Which.
        client: Client,
        /// Whose.
        member: Member,
    },
    /// A client hears everything of a channel that follows this number: at its beginning, and when
    /// it comes back without resuming. A resume that the server grants is no event.
    Reading {
        /// Which.
        client: Client,
        /// What it reads.
        channel: Channel,
        /// The head in the `welcome`.
        after: Seq,
    },
    /// The server said that continuity cannot be proved.
    Reset {
        /// To whom.
        client: Client,
        /// Of which channel.
        channel: Channel,
        /// The number after which delivery goes on; `None`: it does not.
        after: Option<Seq>,
    },
    /// An entry was delivered to a socket.
    Delivered {
        /// When.
        at: u64,
        /// To whom.
        client: Client,
        /// In which channel.
        channel: Channel,
        /// Where.
        position: Position,
        /// What.
        what: What,
    },
    /// At the end: the client was connected and was given the time to hear everything.
    Settled {
        /// Which.
        client: Client,
        /// Of which channel.
        channel: Channel,
    },
    /// A client's session was ended, or its membership taken, by somebody who was told so.
    Revoked {
        /// When that somebody was told.
        at: u64,
        /// Whose.
        client: Client,
    },
    /// A message leaves a client, for the first time or again.
    Invoked {
        /// When.
        at: u64,
        /// Whose.
        client: Client,
        /// Where to.
        channel: Channel,
        /// Its id.
        id: Id,
        /// Its body.
        content: u64,
    },
    /// A message was accepted.
    Acked {
        /// When.
        at: u64,
        /// Whose.
        client: Client,
        /// In which channel.
        channel: Channel,
        /// Which.
        id: Id,
        /// As which entry.
        position: Position,
    },
    /// A message was refused, so that it must never appear. One whose fate is not known gets
    /// neither this nor an ack.
    Failed {
        /// Whose.
        client: Client,
        /// In which channel.
        channel: Channel,
        /// Which.
        id: Id,
    },
    /// An entry of the history, read at the end; in ascending order.
    Page {
        /// Of which channel.
        channel: Channel,
        /// Where.
        position: Position,
        /// What.
        what: What,
    },
}

/// What is known of an entry.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Slot {
    what: What,
    /// Whether somebody has read it, live or in history.
    read: bool,
    /// Whether history has it.
    stored: bool,
}

/// What is known of a channel.
#[derive(Debug, Default, Clone)]
struct Table {
    slots: HashMap<(Seq, Epoch), Slot>,
    /// First and last number that history has.
    pages: Option<(Seq, Seq)>,
    /// The highest number that anybody has read.
    highest: Seq,
}

/// What is known so far.
#[derive(Debug, Default, Clone)]
pub struct Audit {
    channels: HashMap<Channel, Table>,
    clients: HashMap<Client, Owner>,
    readings: HashMap<(Client, Channel), Reading>,
    sends: HashMap<(Client, Channel, Id), Sent>,
    members: HashSet<(Channel, Member)>,
    findings: Findings,
    deliveries: u64,
    resets: u64,
    again: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Owner {
    member: Member,
    revoked_at: Option<u64>,
}

/// What another audit knows, in a form that can be sent: see [`Audit::condense`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Condensed {
    slots: Vec<(Channel, Seq, Epoch, Slot)>,
    clients: Vec<(Client, Owner)>,
    readings: Vec<(Client, Channel, Reading)>,
    sends: Vec<(Client, Channel, Id, Sent)>,
    members: Vec<(Channel, Member)>,
    findings: Findings,
    deliveries: u64,
    resets: u64,
    again: u64,
}

impl Audit {
    /// Notes what happened.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Member { channel, member } => {
                self.members.insert((channel, member));
            }
            Event::Opened { client, member } => {
                let owner = Owner {
                    member,
                    revoked_at: None,
                };
                self.clients.insert(client, owner);
            }
            Event::Reading {
                client,
                channel,
                after,
            } => self.reading(client, channel).begin(after),
            Event::Reset {
                client,
                channel,
                after,
            } => {
                self.resets += 1;
                match after {
                    Some(after) => self.reading(client, channel).begin(after),
                    None => drop(self.readings.remove(&(client, channel))),
                }
            }
            Event::Delivered {
                at,
                client,
                channel,
                position,
                what,
            } => self.delivered(at, client, channel, position, what),
            Event::Settled { client, channel } => self.reading(client, channel).settle(),
            Event::Revoked { at, client } => {
                if let Some(owner) = self.clients.get_mut(&client) {
                    owner.revoked_at = Some(at);
                }
            }
            Event::Invoked { .. } | Event::Acked { .. } | Event::Failed { .. } => self.sent(event),
            Event::Page {
                channel,
                position,
                what,
            } => self.page(channel, position, what),
        }
    }

    /// How many entries were delivered so far.
    #[must_use]
    pub const fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// The channels in which something happened, and the number after which it began: what of
    /// their history is to be read at the end.
    #[must_use]
    pub fn touched(&self) -> BTreeMap<Channel, Seq> {
        let sent = self.sends.keys().map(|(_, channel, _)| *channel);
        let mut touched: BTreeMap<_, _> = sent.map(|channel| (channel, Seq::MAX)).collect();
        touched.extend(self.channels.keys().map(|channel| (*channel, Seq::MAX)));
        for ((_, channel), reading) in &self.readings {
            if let Some(after) = touched.get_mut(channel) {
                *after = reading.start().min(*after);
            }
        }
        touched
    }

    fn reading(&mut self, client: Client, channel: Channel) -> &mut Reading {
        self.readings.entry((client, channel)).or_default()
    }

    fn member(&self, client: Client) -> Member {
        self.clients
            .get(&client)
            .map_or(STRANGER, |owner| owner.member)
    }

    fn delivered(
        &mut self,
        at: u64,
        client: Client,
        channel: Channel,
        position: Position,
        what: What,
    ) {
        self.deliveries += 1;
        let finding = Finding::of(channel).client(client).at(position.seq);
        let owner = self.clients.get(&client).copied();
        let revoked = owner.and_then(|owner| owner.revoked_at);
        if revoked.is_some_and(|revoked| at > revoked + REVOKED_GRACE_NS) {
            let late = "delivered more than 2 s after the session had ended";
            self.findings.add(Rule::Members, finding.says(late));
        }
        self.claim(channel, position, what, true, false, finding);
        let joins = owner.is_some_and(|owner| what == What::Joined(owner.member));
        match self.readings.get_mut(&(client, channel)) {
            Some(reading) => {
                if let Err((flaw, wrong)) = reading.take(position.seq, joins) {
                    let finding = finding.is(flaw);
                    self.findings.add(Rule::Order, finding.says(wrong));
                }
            }
            None => {
                if !joins {
                    let uninvited = "delivered to one who does not read the channel";
                    self.findings.add(Rule::Members, finding.says(uninvited));
                }
                let reading = self.reading(client, channel);
                reading.begin(position.seq - 1);
                // Nothing is before it.
                let _ = reading.take(position.seq, joins);
            }
        }
    }

    /// Somebody says what an entry is.
    fn claim(
        &mut self,
        channel: Channel,
        position: Position,
        what: What,
        read: bool,
        stored: bool,
        finding: Place,
    ) {
        let table = self.channels.entry(channel).or_default();
        if read {
            table.highest = table.highest.max(position.seq);
        }
        let slot = table.slots.entry((position.seq, position.epoch));
        let slot = slot.or_insert(Slot {
            what,
            read: false,
            stored: false,
        });
        slot.read |= read;
        slot.stored |= stored;
        if slot.what != what {
            let (here, elsewhere) = (finding::named(what), finding::named(slot.what));
            let other = format!("{here} here, {elsewhere} elsewhere");
            self.findings.add(Rule::Content, finding.says(&other));
        }
    }

    fn page(&mut self, channel: Channel, position: Position, what: What) {
        let finding = Finding::of(channel).at(position.seq);
        let table = self.channels.entry(channel).or_default();
        match &mut table.pages {
            Some((_, last)) if position.seq == *last + 1 => *last = position.seq,
            Some((_, last)) => {
                let hole = format!("history goes on with it after {last}");
                *last = position.seq.max(*last);
                let finding = finding.is(Flaw::Lost);
                self.findings.add(Rule::Dense, finding.says(&hole));
            }
            pages @ None => *pages = Some((position.seq, position.seq)),
        }
        self.claim(channel, position, what, true, true, finding);
    }

    /// What is known, in a form that can be sent to whoever judges.
    #[must_use]
    pub fn condense(self) -> Condensed {
        let slots = self.channels.into_iter().flat_map(|(channel, table)| {
            let slots = table.slots.into_iter();
            slots.map(move |((seq, epoch), slot)| (channel, seq, epoch, slot))
        });
        let readings = self.readings.into_iter();
        let sends = self.sends.into_iter();
        Condensed {
            slots: slots.collect(),
            clients: self.clients.into_iter().collect(),
            readings: readings.map(|((a, b), reading)| (a, b, reading)).collect(),
            sends: sends.map(|((a, b, c), sent)| (a, b, c, sent)).collect(),
            members: self.members.into_iter().collect(),
            findings: self.findings,
            deliveries: self.deliveries,
            resets: self.resets,
            again: self.again,
        }
    }

    /// Adds what another audit knows. No client may be known to both.
    pub fn absorb(&mut self, other: Condensed) {
        for (channel, seq, epoch, slot) in other.slots {
            let finding = Finding::of(channel).at(seq);
            let position = Position { seq, epoch };
            self.claim(
                channel,
                position,
                slot.what,
                slot.read,
                slot.stored,
                finding,
            );
        }
        self.clients.extend(other.clients);
        let readings = other.readings.into_iter();
        self.readings
            .extend(readings.map(|(a, b, reading)| ((a, b), reading)));
        let sends = other.sends.into_iter();
        self.sends
            .extend(sends.map(|(a, b, c, sent)| ((a, b, c), sent)));
        self.members.extend(other.members);
        self.findings.absorb(other.findings);
        self.deliveries += other.deliveries;
        self.resets += other.resets;
        self.again += other.again;
    }
}
