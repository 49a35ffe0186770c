//! What the driver has others do, and what it makes of the outcome.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use banter_protocol::id::{ChannelId, UserId};

use super::{Driver, HEADS_AT_ONCE, RECONNECT_DELAY, RETRY_DELAY, UNNOTICED};
use crate::bus::redis::follower::{Answer, Question};
use crate::bus::redis::link::{Link, Order};
use crate::bus::redis::reader::Heads;
use crate::bus::{Changed, Event};
use crate::error::Result;

/// Something that is over, well or not.
pub(super) enum Done {
    Connect(Result<Link>),
    Order(Order, Result<()>),
    Heads(Vec<ChannelId>, Result<Heads>),
    Read(Question, Result<Answer>),
    Joins(Vec<UserId>, i64, Result<Vec<Changed>>),
    Probe(Result<()>),
}

impl Driver {
    fn spawn(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        self.work.spawn(work);
    }

    pub(super) fn connect(&mut self) {
        self.is_connecting = true;
        let (redis, counts) = (self.redis.clone(), Arc::clone(&self.counts));
        let hearing = self.hearing;
        self.spawn(async move { Done::Connect(Link::open(&redis, counts, hearing).await) });
    }

    pub(super) fn give_order(&mut self) {
        let next = self.link.as_mut().and_then(Link::next);
        if let Some((order, carry_out)) = next {
            self.spawn(async move { Done::Order(order, carry_out.await) });
        }
    }

    pub(super) fn read(&mut self, question: Question) {
        self.reads += 1;
        let reader = self.reader.clone();
        self.spawn(async move { Done::Read(question, reader.read(question).await) });
    }

    pub(super) fn read_heads(&mut self, channels: Vec<ChannelId>) {
        for chunk in channels.chunks(HEADS_AT_ONCE) {
            let (reader, chunk) = (self.reader.clone(), chunk.to_vec());
            self.spawn(async move {
                let heads = reader.heads(&chunk).await;
                Done::Heads(chunk, heads)
            });
        }
    }

    /// Looks for memberships of these users that have begun since they were last heard of.
    pub(super) fn read_joins(&mut self, users: Vec<UserId>, heard_ms: i64) {
        let unnoticed = i64::try_from(UNNOTICED.as_millis()).unwrap_or(i64::MAX);
        let since = heard_ms - unnoticed;
        let reader = self.reader.clone();
        self.spawn(async move {
            let joined = reader.joined_since(&users, since).await;
            Done::Joins(users, heard_ms, joined)
        });
    }

    pub(super) fn probe(&mut self, topic: String) {
        let redis = self.redis.clone();
        self.spawn(async move {
            let publish = async {
                let connection = redis.connection().await?;
                let mut command = redis::cmd("PUBLISH");
                command.arg(topic).arg("");
                redis.one(&connection, command).await.map(|_| ())
            };
            Done::Probe(publish.await)
        });
    }

    pub(super) fn take(&mut self, done: Done) {
        match done {
            Done::Connect(Ok(link)) => {
                self.is_connecting = false;
                tracing::info!("the bus is there");
                self.linked(link);
            }
            Done::Connect(Err(error)) => {
                self.is_connecting = false;
                self.connect_at = Instant::now() + RECONNECT_DELAY;
                tracing::debug!(%error, "the bus cannot be reached");
            }
            Done::Order(order, outcome) => self.ordered(order, outcome),
            Done::Heads(channels, Ok(heads)) => self.begin(&channels, &heads),
            Done::Heads(channels, Err(error)) => {
                tracing::debug!(%error, "heads of channels cannot be read yet");
                self.headless.extend(channels);
                self.read_at = Instant::now() + RETRY_DELAY;
            }
            Done::Read(question, outcome) => {
                self.reads -= 1;
                match outcome {
                    Ok(answer) => {
                        self.follower.answer(question, answer, Instant::now());
                        self.outbox.extend(&mut self.follower, &self.topics);
                        self.tell_heard(&[question.channel]);
                    }
                    Err(error) => {
                        tracing::debug!(%error, channel = %question.channel, "cannot be read yet");
                        self.follower.fail(question);
                        self.read_at = Instant::now() + RETRY_DELAY;
                    }
                }
            }
            Done::Joins(_, _, Ok(joined)) => {
                for changed in joined {
                    self.outbox.push(Event::Changed(changed));
                }
            }
            Done::Joins(users, heard_ms, Err(error)) => {
                tracing::debug!(%error, "memberships cannot be read yet");
                self.unread.push((users, heard_ms));
            }
            Done::Probe(Ok(())) => {}
            Done::Probe(Err(_)) => {
                // Nothing was published, so nothing is missed; that shows elsewhere.
                if let Some(link) = &mut self.link {
                    link.probed();
                }
            }
        }
    }

    fn ordered(&mut self, order: Order, outcome: Result<()>) {
        let Some(link) = &mut self.link else { return };
        link.done(&order, Instant::now());
        match (outcome, order) {
            (Ok(()), Order::Subscribe(topics)) => self.subscribed(topics),
            (Ok(()), _) => {}
            (Err(error), _) => self.lose(&error.to_string()),
        }
    }
}
