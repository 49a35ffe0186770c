//! What became of the messages that clients sent.

use banter_protocol::id::Position;
use serde::{Deserialize, Serialize};

use super::{Audit, Event, Finding, Flaw, Rule};

/// A message that was sent, perhaps more than once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sent {
    /// When it was sent first.
    pub(super) invoked_at: u64,
    /// How often it was sent.
    pub(super) invocations: u32,
    pub(super) content: u64,
    pub(super) fate: Fate,
}

/// What is known of its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    /// Nothing: it may be there or not.
    Open,
    /// It must never appear.
    Failed,
    /// It is there, and since when that is known.
    Acked { at: u64, position: Position },
}

impl Audit {
    pub(super) fn sent(&mut self, event: Event) {
        match event {
            Event::Invoked {
                at,
                client,
                channel,
                id,
                content,
            } => {
                let sent = self.sends.entry((client, channel, id)).or_insert(Sent {
                    invoked_at: at,
                    invocations: 0,
                    content,
                    fate: Fate::Open,
                });
                sent.invocations += 1;
                if sent.fate == Fate::Failed {
                    sent.fate = Fate::Open;
                }
            }
            Event::Failed {
                client,
                channel,
                id,
            } => {
                if let Some(sent) = self.sends.get_mut(&(client, channel, id))
                    && sent.fate == Fate::Open
                    && sent.invocations == 1
                {
                    sent.fate = Fate::Failed;
                }
            }
            Event::Acked {
                at,
                client,
                channel,
                id,
                position,
            } => {
                let finding = Finding::of(channel).client(client).id(id).at(position.seq);
                let Some(sent) = self.sends.get_mut(&(client, channel, id)) else {
                    let unknown = "acked, and never sent";
                    return self.findings.add(Rule::Acked, finding.says(unknown));
                };
                match sent.fate {
                    // The log lost it, and it was sent again: a new number, still once.
                    Fate::Acked { position: old, .. } if old.epoch == position.epoch => {
                        if old != position {
                            let twice = format!("acked under {} before", old.seq);
                            let finding = finding.is(Flaw::Repeated);
                            self.findings.add(Rule::Acked, finding.says(&twice));
                        }
                    }
                    Fate::Acked { .. } => {
                        self.again += 1;
                        sent.fate = Fate::Acked { at, position };
                    }
                    _ => sent.fate = Fate::Acked { at, position },
                }
            }
            _ => {}
        }
    }
}
