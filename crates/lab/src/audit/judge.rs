//! The rules that need the whole history.

use std::collections::HashMap;

use banter_protocol::id::{Position, Seq};

use super::send::{Fate, Sent};
use super::{Audit, Channel, Client, Finding, Flaw, Id, Member, Report, Rule};
use super::{STRANGER, Table, What};

/// First and last number of a membership.
type Span = (Seq, Seq);

impl Audit {
    /// Judges what is known.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let spans = self.spans();
        self.judge_readings(&spans);
        self.judge_deliveries();
        self.judge_sends();
        self.judge_authors();
        self.judge_order();
        let (mut sent, mut acked, mut refused) = (0, 0, 0);
        for send in self.sends.values() {
            sent += 1;
            match send.fate {
                Fate::Open => {}
                Fate::Failed => refused += 1,
                Fate::Acked { .. } => acked += 1,
            }
        }
        let stored = |table: &Table| table.slots.values().filter(|slot| slot.stored).count();
        let entries = self.channels.values().map(stored).sum::<usize>();
        Report {
            deliveries: self.deliveries,
            entries: entries as u64,
            sent,
            acked,
            refused,
            open: sent - acked - refused,
            resets: self.resets,
            again: self.again,
            ..self.findings.report()
        }
    }

    /// Every membership, from the entries that begin and end them.
    fn spans(&self) -> HashMap<(Channel, Member), Vec<Span>> {
        let mut spans: HashMap<(Channel, Member), Vec<Span>> = HashMap::new();
        for (channel, member) in &self.members {
            spans.insert((*channel, *member), vec![(0, Seq::MAX)]);
        }
        for (channel, table) in &self.channels {
            let moved = table.slots.iter().filter_map(|((seq, _), slot)| {
                // A lost entry moved nobody, where history knows better.
                let lost = table.pages.is_some_and(|pages| *seq <= pages.1) && !slot.stored;
                match slot.what {
                    What::Joined(member) if !lost => Some((*seq, member, true)),
                    What::Left(member) if !lost => Some((*seq, member, false)),
                    _ => None,
                }
            });
            let mut moved: Vec<_> = moved.collect();
            moved.sort_unstable();
            for (seq, member, joins) in moved {
                let spans = spans.entry((*channel, member)).or_default();
                match spans.last_mut() {
                    Some(last) if last.1 == Seq::MAX && !joins => last.1 = seq,
                    Some(last) if last.1 == Seq::MAX => {}
                    // One whose beginning nobody saw.
                    None if !joins => spans.push((0, seq)),
                    _ if joins => spans.push((seq, Seq::MAX)),
                    _ => {}
                }
            }
        }
        spans
    }

    /// Nothing is missing within a membership, nothing came outside of one.
    fn judge_readings(&mut self, spans: &HashMap<(Channel, Member), Vec<Span>>) {
        let none = Vec::new();
        let mut found = Vec::new();
        for ((client, channel), reading) in &self.readings {
            let spans = spans.get(&(*channel, self.member(*client)));
            let spans = spans.unwrap_or(&none);
            let table = self.channels.get(channel);
            let top = table.map_or(0, |table| {
                table.pages.map_or(table.highest, |(_, last)| last)
            });
            let finding = Finding::of(*channel).client(*client);
            let latest = reading.stretches.len().saturating_sub(1);
            for (number, stretch) in reading.stretches.iter().enumerate() {
                let end = (reading.settled && number == latest).then_some(top);
                for (from, to) in stretch.gaps(end) {
                    for span in spans {
                        let (from, to) = (from.max(span.0), to.min(span.1));
                        if from <= to {
                            let missing = missing(from, to);
                            let finding = finding.at(from).is(Flaw::Lost);
                            found.push((Rule::Order, finding.says(&missing)));
                        }
                    }
                }
                for (from, to) in &stretch.runs {
                    if let Some(seq) = outside(*from, *to, spans) {
                        let says = "delivered to one who was no member then";
                        found.push((Rule::Members, finding.at(seq).says(says)));
                    }
                }
            }
        }
        self.add(found);
    }

    /// What was delivered is in history.
    fn judge_deliveries(&mut self) {
        let mut found = Vec::new();
        for (channel, table) in &self.channels {
            let Some((first, _)) = table.pages else {
                continue;
            };
            let epochs = table.slots.iter().filter(|(_, slot)| slot.stored);
            let newest = epochs.map(|((_, epoch), _)| *epoch).max().unwrap_or(0);
            for ((seq, epoch), slot) in &table.slots {
                // An older epoch's entries may have been lost with its log.
                if !slot.stored && *seq >= first && *epoch >= newest {
                    let finding = Finding::of(*channel).at(*seq).is(Flaw::Lost);
                    let says = "delivered, and not in history";
                    found.push((Rule::Content, finding.says(says)));
                }
            }
        }
        self.add(found);
    }

    /// What was acked is there once; what was refused is not.
    fn judge_sends(&mut self) {
        let mut found = Vec::new();
        let rows = self.rows();
        for ((client, channel, id), sent) in &self.sends {
            let author = self.member(*client);
            let finding = Finding::of(*channel).client(*client).id(*id);
            let mut add = |rule, flaw, seq: Option<Seq>, says: &str| {
                let finding = seq.map_or(finding, |seq| finding.at(seq)).is(flaw);
                found.push((rule, finding.says(says)));
            };
            let what = What::Message {
                author,
                id: *id,
                content: sent.content,
            };
            let rows = rows.get(&(*channel, author, *id)).map_or(&[][..], |r| r);
            if rows.len() > 1 {
                let rule = match sent.fate {
                    Fate::Acked { .. } => Rule::Acked,
                    _ => Rule::Refused,
                };
                let places = rows.iter().map(|row| row.seq.to_string());
                let places = places.collect::<Vec<_>>().join(", ");
                let says = format!("it has the numbers {places}");
                add(rule, Flaw::Repeated, None, &says);
            }
            let table = self.channels.get(channel);
            match sent.fate {
                Fate::Acked { position, .. } => {
                    self.judge_ack(table, position, what, &mut add);
                }
                Fate::Failed if !rows.is_empty() => {
                    let seq = Some(rows[0].seq);
                    add(Rule::Refused, Flaw::Other, seq, "refused, and there");
                }
                _ => {}
            }
        }
        self.add(found);
    }

    fn judge_ack(
        &self,
        table: Option<&Table>,
        position: Position,
        what: What,
        add: &mut impl FnMut(Rule, Flaw, Option<Seq>, &str),
    ) {
        let slot = table.and_then(|table| table.slots.get(&(position.seq, position.epoch)));
        let seq = Some(position.seq);
        let Some(slot) = slot else {
            if table.is_some_and(|table| table.pages.is_some()) {
                add(Rule::Acked, Flaw::Lost, seq, "acked, and not in history");
            } else if table.is_some_and(|table| table.highest >= position.seq) {
                add(
                    Rule::Read,
                    Flaw::Lost,
                    seq,
                    "acked, and nobody ever read it",
                );
            }
            return;
        };
        if slot.what != what {
            let says = "the entry is not what was sent";
            add(Rule::Content, Flaw::Other, seq, says);
        } else if !slot.stored && table.is_some_and(|table| table.pages.is_some()) {
            add(Rule::Acked, Flaw::Lost, seq, "acked, and not in history");
        }
    }

    /// Every message is one that somebody sent.
    fn judge_authors(&mut self) {
        let mut authors: HashMap<Member, Vec<Client>> = HashMap::new();
        for (client, owner) in &self.clients {
            authors.entry(owner.member).or_default().push(*client);
        }
        let mut found = Vec::new();
        for (channel, table) in &self.channels {
            for ((seq, _), slot) in &table.slots {
                let What::Message { author, id, .. } = slot.what else {
                    continue;
                };
                let Some(clients) = authors.get(&author).filter(|_| author != STRANGER) else {
                    continue;
                };
                let sent = |client: &Client| self.sends.contains_key(&(*client, *channel, id));
                if !clients.iter().any(sent) {
                    let finding = Finding::of(*channel).at(*seq).id(id);
                    found.push((Rule::Content, finding.says("nobody sent it")));
                }
            }
        }
        self.add(found);
    }

    /// Messages by channel, author and id: where history has them, or else where they were read.
    fn rows(&self) -> HashMap<(Channel, Member, Id), Vec<Position>> {
        let mut rows: HashMap<_, Vec<_>> = HashMap::new();
        for (channel, table) in &self.channels {
            for ((seq, epoch), slot) in &table.slots {
                let counts = slot.stored || table.pages.is_none();
                if let (What::Message { author, id, .. }, true) = (slot.what, counts) {
                    let position = Position {
                        seq: *seq,
                        epoch: *epoch,
                    };
                    rows.entry((*channel, author, id))
                        .or_default()
                        .push(position);
                }
            }
        }
        rows
    }

    /// Time and order agree, for everybody and for each sender.
    fn judge_order(&mut self) {
        let mut channels: HashMap<Channel, Vec<Acked>> = HashMap::new();
        for ((client, channel, id), sent) in &self.sends {
            if let Some(acked) = Acked::new(*client, *id, sent) {
                channels.entry(*channel).or_default().push(acked);
            }
        }
        let mut found = Vec::new();
        for (channel, mut acked) in channels {
            acked.sort_unstable_by_key(|send| (send.invoked_at, send.seq));
            let mut by_ack = acked.clone();
            by_ack.sort_unstable_by_key(|send| send.acked_at);
            let mut earlier = by_ack.iter().peekable();
            let mut highest = None;
            let mut last: HashMap<Client, &Acked> = HashMap::new();
            for send in &acked {
                while let Some(before) = earlier.next_if(|s| s.acked_at < send.invoked_at) {
                    highest = highest.max(Some(before.seq));
                }
                let finding = Finding::of(channel).client(send.client).id(send.id);
                let finding = finding.at(send.seq).is(Flaw::Reordered);
                if let Some(highest) = highest.filter(|highest| *highest > send.seq) {
                    let says = format!("sent after entry {highest} was acked");
                    found.push((Rule::RealTime, finding.says(&says)));
                }
                if !send.once {
                    continue;
                }
                if let Some(before) = last.insert(send.client, send)
                    && before.seq > send.seq
                    && before.invoked_at < send.invoked_at
                {
                    let says = format!("sent after entry {} of the same sender", before.seq);
                    found.push((Rule::SenderOrder, finding.says(&says)));
                }
            }
        }
        self.add(found);
    }

    fn add(&mut self, found: Vec<(Rule, Finding)>) {
        for (rule, finding) in found {
            self.findings.add(rule, finding);
        }
    }
}

/// A message whose number is known.
#[derive(Debug, Clone, Copy)]
struct Acked {
    client: Client,
    id: Id,
    seq: Seq,
    invoked_at: u64,
    acked_at: u64,
    /// Whether it was sent once: another try may be overtaken.
    once: bool,
}

impl Acked {
    fn new(client: Client, id: Id, sent: &Sent) -> Option<Self> {
        let Fate::Acked { at, position } = sent.fate else {
            return None;
        };
        Some(Self {
            client,
            id,
            seq: position.seq,
            invoked_at: sent.invoked_at,
            acked_at: at,
            once: sent.invocations == 1,
        })
    }
}

fn missing(from: Seq, to: Seq) -> String {
    if from == to {
        "never delivered".to_owned()
    } else {
        format!("never delivered, nor any other up to {to}")
    }
}

/// The first number of a run that no membership covers.
fn outside(from: Seq, to: Seq, spans: &[Span]) -> Option<Seq> {
    let mut next = from;
    for (begin, end) in spans {
        if *begin > next {
            return Some(next);
        }
        if *end >= next {
            if *end >= to {
                return None;
            }
            next = end + 1;
        }
    }
    Some(next)
}
