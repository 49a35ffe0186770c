//! The subscriber connection: made, told what to listen to, tested, given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;

use super::Hearing;
use super::inbox::{Counts, Inbox};
use super::payload;
use crate::bus::Topic;
use crate::error::{Error, Result};
use crate::redis::{Connection, Redis};

/// Topics of one SUBSCRIBE: what a server answers in a few milliseconds.
const TOPICS_AT_ONCE: usize = 512;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long Redis may take to confirm what it was told.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two messages to oneself.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// How long such a message may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Something to tell Redis.
#[derive(Debug, Clone)]
pub(super) enum Order {
    /// Listen to these.
    Subscribe(Vec<Topic>),
    /// Listen to the topics of the bus itself.
    SubscribeOwn,
    /// These are of no interest any more.
    Unsubscribe(Vec<Topic>),
}

/// A connection that listens.
pub(super) struct Link {
    pub(super) inbox: Arc<Inbox>,
    connection: Connection,
    hearing: Hearing,
    /// What Redis is to be told, in this order and one at a time.
    orders: VecDeque<Order>,
    is_busy: bool,
    probe: Probe,
}

/// Messages to oneself.
#[derive(Debug)]
struct Probe {
    topic: String,
    sent: Option<Instant>,
    /// `None`: its topic is not listened to yet.
    due: Option<Instant>,
}

impl Link {
    /// Connects.
    pub(super) async fn open(redis: &Redis, counts: Arc<Counts>, hearing: Hearing) -> Result<Self> {
        let inbox = Arc::new(Inbox::new(counts));
        let receiver = Arc::clone(&inbox);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None)
            .set_push_sender(move |push| {
                receiver.push(push);
                Ok::<_, std::convert::Infallible>(())
            });
        let connection = redis.connect_with(&config).await?;
        Ok(Self {
            inbox,
            connection,
            hearing,
            orders: VecDeque::from([Order::SubscribeOwn]),
            is_busy: false,
            probe: Probe {
                topic: format!("probe:{}", uuid::Uuid::now_v7().simple()),
                sent: None,
                due: None,
            },
        })
    }

    pub(super) fn subscribe(&mut self, topics: &[Topic]) {
        let chunks = topics.chunks(TOPICS_AT_ONCE);
        self.orders
            .extend(chunks.map(|chunk| Order::Subscribe(chunk.to_vec())));
    }

    pub(super) fn unsubscribe(&mut self, topics: &[Topic]) {
        let chunks = topics.chunks(TOPICS_AT_ONCE);
        self.orders
            .extend(chunks.map(|chunk| Order::Unsubscribe(chunk.to_vec())));
    }

    /// The next order to carry out, with what it takes; until [`Self::done`].
    pub(super) fn next(&mut self) -> Option<(Order, impl Future<Output = Result<()>> + use<>)> {
        if self.is_busy {
            return None;
        }
        let order = self.orders.pop_front()?;
        self.is_busy = true;
        let everything = self.hearing == Hearing::Everything;
        let names: Vec<String> = match &order {
            Order::Subscribe(topics) | Order::Unsubscribe(topics) => {
                // All channels are heard already.
                let named = topics.iter().filter(|topic| match topic {
                    Topic::Channel(_) => !everything,
                    Topic::User(_) => true,
                });
                named.map(|topic| payload::name(*topic)).collect()
            }
            Order::SubscribeOwn => vec![payload::EPOCHS.to_owned(), self.probe.topic.clone()],
        };
        let leaves = matches!(order, Order::Unsubscribe(_));
        let all = everything && matches!(order, Order::SubscribeOwn);
        let mut connection = self.connection.inner();
        let carry_out = async move {
            let told = async {
                if all {
                    connection
                        .psubscribe([payload::CHANNEL, b"*"].concat())
                        .await?;
                }
                match leaves {
                    _ if names.is_empty() => Ok(()),
                    true => connection.unsubscribe(names).await,
                    false => connection.subscribe(names).await,
                }
            };
            match tokio::time::timeout(CONFIRM_TIMEOUT, told).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Error::Unavailable(format!("Redis: {error}"))),
                Err(_) => Err(Error::Unavailable("Redis does not confirm".into())),
            }
        };
        Some((order, carry_out))
    }

    /// The order is carried out.
    pub(super) fn done(&mut self, order: &Order, now: Instant) {
        self.is_busy = false;
        if matches!(order, Order::SubscribeOwn) {
            self.probe.due = Some(now);
        }
    }

    /// Whether this is where messages to oneself arrive.
    pub(super) fn is_probe(&self, topic: &[u8]) -> bool {
        topic == self.probe.topic.as_bytes()
    }

    /// A message to oneself has arrived, or never left; gives how long ago it was sent.
    pub(super) fn probed(&mut self) -> Option<Duration> {
        self.probe.sent.take().map(|sent| sent.elapsed())
    }

    /// Whether a message to oneself is overdue: what else is published does not arrive either.
    pub(super) fn is_deaf(&self, now: Instant) -> bool {
        let sent = self.probe.sent;
        sent.is_some_and(|sent| now.saturating_duration_since(sent) > PROBE_TIMEOUT)
    }

    /// The topic to publish a message to oneself on, where one is due.
    pub(super) fn probe(&mut self, now: Instant) -> Option<String> {
        if self.probe.sent.is_some() || self.probe.due.is_none_or(|due| now < due) {
            return None;
        }
        self.probe.sent = Some(now);
        self.probe.due = Some(now + PROBE_INTERVAL);
        Some(self.probe.topic.clone())
    }
}
