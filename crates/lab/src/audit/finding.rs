//! What the audit found, and how it is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use banter_protocol::id::Seq;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Channel, Client, Id, What};

/// Findings of one rule that are kept with their identifiers; the others are counted.
const KEPT_OF_A_RULE: usize = 100;

/// A promise that clients can check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// C1: what was acked is in history once, as the entry that the ack named.
    Acked,
    /// C2: an entry is the same for everybody, and what was sent.
    Content,
    /// C3: each member applies each entry once and in order, over reconnects.
    Order,
    /// C4: what was refused never appears; what has no answer appears once at most.
    Refused,
    /// C5: what is sent after another message was acked comes after it.
    RealTime,
    /// C6: messages of one client keep their order.
    SenderOrder,
    /// C7: what was acked below the highest number that anybody read was read by somebody.
    Read,
    /// C8: history has no holes.
    Dense,
    /// C10: nobody hears a channel who is no member of it.
    Members,
}

impl Rule {
    /// Its number in the list of rules.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Acked => "C1",
            Self::Content => "C2",
            Self::Order => "C3",
            Self::Refused => "C4",
            Self::RealTime => "C5",
            Self::SenderOrder => "C6",
            Self::Read => "C7",
            Self::Dense => "C8",
            Self::Members => "C10",
        }
    }

    /// What was promised.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Acked => "what was acked is in history once",
            Self::Content => "an entry is the same for everybody",
            Self::Order => "each member receives each entry once, in order",
            Self::Refused => "what was refused never appears",
            Self::RealTime => "what is sent after an ack comes after it",
            Self::SenderOrder => "messages of one sender keep their order",
            Self::Read => "what was acked can be read",
            Self::Dense => "history has no holes",
            Self::Members => "only members receive",
        }
    }
}

/// What a broken promise means to whoever reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Something is missing.
    Lost,
    /// Something is there twice.
    Repeated,
    /// Something is in the wrong place.
    Reordered,
    /// Something else, such as another text.
    Other,
}

/// Where a promise may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    channel: Channel,
    client: Option<Client>,
    seq: Option<Seq>,
    id: Option<Id>,
    flaw: Flaw,
}

/// One broken promise, with everything that is needed to look it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where.
    pub channel: Channel,
    /// Whose client saw it, where one did.
    pub client: Option<Client>,
    /// The entry.
    pub seq: Option<Seq>,
    /// The message.
    pub id: Option<Id>,
    /// What kind of wrong it is.
    pub flaw: Flaw,
    /// What is wrong.
    pub says: String,
}

impl Finding {
    /// Where something is wrong.
    pub(super) const fn of(channel: Channel) -> Place {
        Place {
            channel,
            client: None,
            seq: None,
            id: None,
            flaw: Flaw::Other,
        }
    }

    /// A sentence about it.
    #[must_use]
    pub fn describe(&self, names: &Names) -> String {
        let channel = names.channels.get(self.channel as usize);
        let channel = channel.map_or_else(|| self.channel.to_string(), Clone::clone);
        let mut text = format!("channel {channel}");
        // Writing to a string cannot fail.
        if let Some(seq) = self.seq {
            let _ = write!(text, ", entry {seq}");
        }
        if let Some(id) = self.id {
            let _ = write!(text, ", message {}", Uuid::from_u128(id));
        }
        if let Some(client) = self.client {
            let member = names.clients.get(client as usize);
            let member = member.map_or_else(|| client.to_string(), Clone::clone);
            let _ = write!(text, ", client {member}");
        }
        let _ = write!(text, ": {}", self.says);
        text
    }
}

impl Place {
    pub(super) const fn client(self, client: Client) -> Self {
        Self {
            client: Some(client),
            ..self
        }
    }

    pub(super) const fn at(self, seq: Seq) -> Self {
        Self {
            seq: Some(seq),
            ..self
        }
    }

    pub(super) const fn id(self, id: Id) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    pub(super) const fn is(self, flaw: Flaw) -> Self {
        Self { flaw, ..self }
    }

    pub(super) fn says(self, text: &str) -> Finding {
        Finding {
            channel: self.channel,
            client: self.client,
            seq: self.seq,
            id: self.id,
            flaw: self.flaw,
            says: text.to_owned(),
        }
    }
}

/// An entry's content in a few words.
pub(super) fn named(what: What) -> String {
    match what {
        What::Message { id, content, .. } => {
            format!("message {} ({content:016x})", Uuid::from_u128(id))
        }
        What::Joined(member) => format!("joined of {member}"),
        What::Left(member) => format!("left of {member}"),
        What::Tombstone => "a tombstone".to_owned(),
    }
}

/// What channels and clients are called, by their numbers.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Names or ids of channels.
    pub channels: Vec<String>,
    /// Names of clients or of their users.
    pub clients: Vec<String>,
}

/// How often each rule was broken, and the first of each.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Findings {
    rules: BTreeMap<Rule, (u64, Vec<Finding>)>,
    flaws: BTreeMap<Flaw, u64>,
}

impl Findings {
    pub(super) fn add(&mut self, rule: Rule, finding: Finding) {
        let (count, kept) = self.rules.entry(rule).or_default();
        *count += 1;
        *self.flaws.entry(finding.flaw).or_default() += 1;
        if kept.len() < KEPT_OF_A_RULE {
            kept.push(finding);
        }
    }

    pub(super) fn absorb(&mut self, other: Self) {
        for (rule, (count, kept)) in other.rules {
            let (all, found) = self.rules.entry(rule).or_default();
            *all += count;
            let room = KEPT_OF_A_RULE.saturating_sub(found.len());
            found.extend(kept.into_iter().take(room));
        }
        for (flaw, count) in other.flaws {
            *self.flaws.entry(flaw).or_default() += count;
        }
    }

    pub(super) fn report(self) -> Report {
        let mut report = Report {
            flaws: self.flaws,
            ..Report::default()
        };
        for (rule, (count, kept)) in self.rules {
            report.violations += count;
            report.counts.push((rule, count));
            let kept = kept.into_iter().map(|finding| (rule, finding));
            report.findings.extend(kept);
        }
        report
    }
}

/// The judgement.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Broken promises in all.
    pub violations: u64,
    /// Of each broken rule, how often.
    pub counts: Vec<(Rule, u64)>,
    /// Of each kind of wrong, how often.
    pub flaws: BTreeMap<Flaw, u64>,
    /// The first hundred of each.
    pub findings: Vec<(Rule, Finding)>,
    /// Entries delivered.
    pub deliveries: u64,
    /// Entries of history that were read at the end.
    pub entries: u64,
    /// Messages sent, each counted once.
    pub sent: u64,
    /// Of these: accepted.
    pub acked: u64,
    /// Of these: refused for good.
    pub refused: u64,
    /// Of these: without an answer.
    pub open: u64,
    /// Times that the server said it cannot prove continuity.
    pub resets: u64,
    /// Acks of messages that had been acked in an epoch before: the log had lost them, and they
    /// were sent again.
    pub again: u64,
}

impl Report {
    /// The broken rules.
    #[must_use]
    pub fn broken(&self) -> Vec<Rule> {
        self.counts.iter().map(|(rule, _)| *rule).collect()
    }
}
