//! A sender with an outbox: tries until it is told, and again when the log has lost something.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use banter_protocol::entry::Level;
use banter_protocol::id::UserId;
use banter_protocol::text::{Body, Username};
use banter_storage::log::{Act, Append, Log, Receipt};

use super::play::World;
use crate::log::fixture::position;
use crate::seed::Seed;

/// Messages that may wait to be stored.
const OUTBOX_MAX: usize = 300;

pub(super) struct Sender {
    world: Arc<World>,
    user: UserId,
    username: Username,
    seed: Seed,
    outbox: Vec<Message>,
    losses: u64,
    made: u64,
}

struct Message {
    append: Append,
    id: String,
    is_accepted: bool,
}

impl Sender {
    pub(super) fn new(world: Arc<World>, user: UserId, name: &str, seed: Seed) -> Self {
        Self {
            world,
            user,
            username: Username::parse(name).unwrap(),
            seed,
            outbox: Vec::new(),
            losses: 0,
            made: 0,
        }
    }

    /// Sends as long as there is trouble, and then until all it has sent is stored.
    pub(super) async fn run(mut self) {
        let (log, ..) = self.world.log().await;
        let log = Log::Redis(log);
        while self.world.is_trouble() || !self.outbox.is_empty() {
            for _ in 0..self.seed.below(6) {
                if self.world.is_trouble() && self.outbox.len() < OUTBOX_MAX {
                    self.write();
                }
            }
            self.send_again();
            let most = 1 + self.seed.below(30) as usize;
            let waiting = self.outbox.iter().filter(|it| !it.is_accepted);
            let batch: Vec<_> = waiting.take(most).map(|it| it.append.clone()).collect();
            // Without an answer the outcome is unknown, and it is sent again.
            let answers = log.append(batch.clone()).await.unwrap_or_default();
            for (append, answer) in batch.iter().zip(answers) {
                if let Ok(receipt) = answer {
                    self.accepted(append, &receipt);
                }
            }
            tokio::time::sleep(Duration::from_millis(self.seed.below(30))).await;
        }
    }

    fn write(&mut self) {
        self.made += 1;
        let id = match self.seed.below(10) {
            0 => format!("plain-{}-{}", self.username, self.made),
            _ => uuid::Uuid::now_v7().to_string(),
        };
        let length = 1 + self.seed.below(300) as usize;
        let append = Append {
            channel: self.world.channels[self.seed.below(3) as usize],
            user: self.user,
            username: self.username.clone(),
            act: Act::Message {
                id: id.parse().unwrap(),
                body: Body::parse(&"x".repeat(length)).unwrap(),
            },
        };
        self.outbox.push(Message {
            append,
            id,
            is_accepted: false,
        });
    }

    /// After a loss everything; else now and then some of what was accepted, which is how it hears
    /// that they are stored.
    fn send_again(&mut self) {
        let losses = self.world.losses.load(Ordering::SeqCst);
        let (from, most) = if losses != self.losses {
            (0, usize::MAX)
        } else if self.seed.below(4) == 0 || !self.world.is_trouble() {
            (self.seed.below(1 + self.outbox.len() as u64) as usize, 20)
        } else {
            return;
        };
        self.losses = losses;
        for message in self.outbox.iter_mut().skip(from).take(most) {
            message.is_accepted = false;
        }
    }

    fn accepted(&mut self, append: &Append, receipt: &Receipt) {
        let Act::Message { id, .. } = &append.act else {
            return;
        };
        let (id, at) = (id.as_str(), position(receipt));
        self.world.seen.acked(id, append.channel, at);
        if receipt.level == Level::Stored {
            self.world.seen.stored(id, append.channel, at);
            self.outbox.retain(|message| message.id != id);
        } else if let Some(sent) = self.outbox.iter_mut().find(|it| it.id == id) {
            sent.is_accepted = true;
        }
    }
}
