//! What arrives on the subscriber connection, until the follower takes it.
//!
//! The connection's reader must never wait, and Redis cuts off a subscriber that falls behind. So
//! what does not fit is dropped, and remembered as dropped.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use crate::bus::Topic;

use super::payload;

/// Bytes that may wait: a second of a busy cluster.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a waiting message costs beyond its bytes.
const OVERHEAD: usize = 128;

/// A message as it arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) topic: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    pub(super) arrived: Notify,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    arrivals: Vec<Arrival>,
    bytes: usize,
    /// Topics of what was dropped.
    dropped: HashSet<Topic>,
    broken: bool,
}

/// How many messages have arrived, before anything looked at them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    channels: AtomicU64,
    others: AtomicU64,
    dropped: AtomicU64,
    unwanted: AtomicU64,
}

impl Counts {
    pub(super) fn channels(&self) -> u64 {
        self.channels.load(Ordering::Relaxed)
    }

    pub(super) fn others(&self) -> u64 {
        self.others.load(Ordering::Relaxed)
    }

    /// A message of a channel came that nobody wants.
    pub(super) fn is_unwanted(&self) {
        self.unwanted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unwanted(&self) -> u64 {
        self.unwanted.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What has arrived since one looked last.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) dropped: HashSet<Topic>,
    /// The connection has ended.
    pub(super) broken: bool,
}

impl Inbox {
    /// The inbox of a connection.
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self {
            counts,
            ..Self::default()
        }
    }

    /// Takes what the connection's reader has read.
    pub(super) fn push(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message | PushKind::PMessage => {
                // A pattern stands before what it has matched.
                let pattern = usize::from(push.kind == PushKind::PMessage);
                let mut data = push.data.into_iter().skip(pattern);
                if let (Some(Value::BulkString(topic)), Some(Value::BulkString(payload))) =
                    (data.next(), data.next())
                {
                    self.arrive(Arrival { topic, payload });
                }
            }
            PushKind::Disconnection => self.lock().broken = true,
            _ => return,
        }
        self.arrived.notify_one();
    }

    fn arrive(&self, arrival: Arrival) {
        let count = match arrival.topic.starts_with(payload::CHANNEL) {
            true => &self.counts.channels,
            false => &self.counts.others,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let size = arrival.topic.len() + arrival.payload.len() + OVERHEAD;
        let mut state = self.lock();
        if state.bytes + size <= BYTES_MAX {
            state.bytes += size;
            state.arrivals.push(arrival);
        } else if let Some(topic) = payload::topic(&arrival.topic) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            state.dropped.insert(topic);
        }
    }

    /// Takes everything that has arrived.
    pub(super) fn take(&self) -> Arrived {
        let mut state = self.lock();
        state.bytes = 0;
        Arrived {
            arrivals: std::mem::take(&mut state.arrivals),
            dropped: std::mem::take(&mut state.dropped),
            broken: state.broken,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use banter_protocol::id::ChannelId;

    use super::*;

    fn message(topic: &str, bytes: usize) -> PushInfo {
        PushInfo {
            kind: PushKind::Message,
            data: vec![
                Value::BulkString(topic.into()),
                Value::BulkString(vec![b'x'; bytes]),
            ],
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_remembered() {
        let counts = Arc::<Counts>::default();
        let inbox = Inbox::new(counts.clone());
        let big = format!("c:{}", "07".repeat(16));
        inbox.push(message(&big, BYTES_MAX / 2));
        inbox.push(message(&big, BYTES_MAX / 2));
        inbox.push(message("probe:1", 1));
        let arrived = inbox.take();
        assert_eq!(arrived.arrivals.len(), 2);
        let channel = ChannelId::from_bytes([7; 16]);
        assert_eq!(arrived.dropped, [Topic::Channel(channel)].into());
        assert_eq!(
            (counts.channels(), counts.others(), counts.dropped()),
            (2, 1, 1)
        );
        inbox.push(message(&big, BYTES_MAX / 2));
        assert_eq!(inbox.take().arrivals.len(), 1, "there is room again");
    }
}
