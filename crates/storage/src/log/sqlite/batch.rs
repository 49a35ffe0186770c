//! One transaction of the log: what each entry of a batch becomes.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use banter_protocol::entry::{Entry, Kind, Level};
use banter_protocol::id::{ChannelId, Epoch, MessageId, Seq, UserId};
use banter_protocol::text::{Body, Username};
use banter_protocol::time::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::statements;
use crate::entries::Record;
use crate::error::Result;
use crate::log::{Act, Answer, Append, Receipt, Refused};

/// A batch on its way into the database. Nothing of it is seen by anybody before the commit.
pub(super) struct Batch {
    epoch: Epoch,
    now: Timestamp,
    tops: HashMap<ChannelId, Seq>,
    /// Memberships that this batch changed: the entry that began them, or none.
    members: HashMap<(ChannelId, UserId), Option<Receipt>>,
    /// Messages of this batch: the same id may stand in it more than once.
    sent: HashMap<(ChannelId, UserId, MessageId), Receipt>,
    answers: Vec<Answer>,
    records: Vec<Record>,
}

impl Batch {
    /// A batch in a log with these tops.
    pub(super) fn new(epoch: Epoch, tops: HashMap<ChannelId, Seq>) -> Self {
        Self {
            epoch,
            now: now(),
            tops,
            members: HashMap::new(),
            sent: HashMap::new(),
            answers: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Decides each entry in turn and writes them all, within the caller's transaction.
    pub(super) async fn run(
        &mut self,
        writer: &mut SqliteConnection,
        appends: Vec<Append>,
    ) -> Result<()> {
        let known = statements::lookup(writer, &appends).await?;
        for (append, known) in appends.into_iter().zip(known) {
            let place = (append.channel, append.user);
            let member = match self.members.get(&place) {
                Some(changed) => changed.clone(),
                None => known.member,
            };
            let Append {
                channel,
                user,
                username,
                act,
            } = append;
            let answer = match (act, member) {
                (Act::Message { id, body }, Some(_)) => {
                    Ok(self.message((channel, user, id), username, body, known.message))
                }
                (Act::Join, Some(first)) => Ok(first),
                (Act::Join, None) => Ok(self.join(writer, place, username).await?),
                (Act::Leave { by }, Some(_)) => {
                    let by = by.map(|(_, owner)| owner);
                    Ok(self.leave(writer, place, username, by).await?)
                }
                (Act::Message { .. } | Act::Leave { .. }, None) => Err(Refused::NotAMember),
            };
            self.answers.push(answer);
        }
        statements::insert(writer, &self.records, self.epoch, self.now).await
    }

    /// What is to be told after the commit: answers, new entries, new tops.
    pub(super) fn finish(self) -> (Vec<Answer>, Vec<Record>, HashMap<ChannelId, Seq>) {
        (self.answers, self.records, self.tops)
    }

    fn message(
        &mut self,
        key: (ChannelId, UserId, MessageId),
        author: Username,
        body: Body,
        known: Option<Receipt>,
    ) -> Receipt {
        if let Some(first) = known.or_else(|| self.sent.get(&key).cloned()) {
            return Receipt {
                fresh: false,
                ..first
            };
        }
        let kind = Kind::Message {
            id: key.2.clone(),
            author,
            body,
        };
        let receipt = self.push(key.0, key.1, kind);
        self.sent.insert(key, receipt.clone());
        receipt
    }

    async fn join(
        &mut self,
        writer: &mut SqliteConnection,
        place: (ChannelId, UserId),
        user: Username,
    ) -> Result<Receipt> {
        let receipt = self.push(place.0, place.1, Kind::Joined { user });
        statements::add_member(writer, place.0, place.1, &receipt).await?;
        self.members.insert(
            place,
            Some(Receipt {
                fresh: false,
                ..receipt.clone()
            }),
        );
        Ok(receipt)
    }

    async fn leave(
        &mut self,
        writer: &mut SqliteConnection,
        place: (ChannelId, UserId),
        user: Username,
        by: Option<Username>,
    ) -> Result<Receipt> {
        let receipt = self.push(place.0, place.1, Kind::Left { user, by });
        statements::remove_member(writer, place.0, place.1).await?;
        self.members.insert(place, None);
        Ok(receipt)
    }

    fn push(&mut self, channel: ChannelId, user: UserId, kind: Kind) -> Receipt {
        let top = self.tops.entry(channel).or_insert(0);
        *top += 1;
        let (seq, epoch, sent_at) = (*top, self.epoch, self.now);
        let entry = Entry {
            channel,
            seq,
            epoch,
            sent_at,
            kind,
        };
        self.records.push(Record {
            entry,
            user: Some(user),
        });
        Receipt {
            seq,
            epoch,
            sent_at,
            level: Level::Stored,
            fresh: true,
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
