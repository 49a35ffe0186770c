//! Which topics are wanted by how many, and which are heard.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use banter_protocol::id::{ChannelId, Epoch, Seq};
use tokio::sync::Notify;

use crate::bus::Topic;
use crate::log::{SHARDS, Shard};

/// How long a topic that nobody wants any more is still heard: people come back, and reload.
const LINGER: Duration = Duration::from_secs(10);

/// The topics of this process.
#[derive(Debug, Default)]
pub(super) struct Topics {
    state: Mutex<State>,
    /// The newest known epoch of each shard; 0: none.
    epochs: [AtomicU64; SHARDS as usize],
    /// Told when a topic is wanted that was not.
    pub(super) wanted: Notify,
    /// Told when topics have come to be heard.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Topic, Interest>,
    /// Wanted, and not asked for yet.
    fresh: Vec<Topic>,
    /// Wanted by nobody since then. They may be wanted again meanwhile.
    idle: VecDeque<(Instant, Topic)>,
}

#[derive(Debug, Default)]
struct Interest {
    wanted_by: usize,
    /// Where nobody wants it: until when it is heard all the same.
    until: Option<Instant>,
    heard: Heard,
    stored: Option<Seq>,
}

/// Whether a topic is heard.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not yet, or not now.
    #[default]
    No,
    /// It is; a channel under this epoch.
    Under(Option<Epoch>),
}

impl Topics {
    /// One more wants the topic; tells whether it is heard already.
    pub(super) fn want(&self, topic: Topic) -> bool {
        let mut state = self.lock();
        let State { topics, fresh, .. } = &mut *state;
        let interest = topics.entry(topic).or_insert_with(|| {
            fresh.push(topic);
            self.wanted.notify_one();
            Interest::default()
        });
        interest.wanted_by += 1;
        interest.until = None;
        interest.heard != Heard::No
    }

    /// One less wants the topic.
    pub(super) fn release(&self, topic: Topic, now: Instant) {
        let mut state = self.lock();
        if let Some(interest) = state.topics.get_mut(&topic) {
            interest.wanted_by = interest.wanted_by.saturating_sub(1);
            if interest.wanted_by == 0 {
                interest.until = Some(now + LINGER);
                state.idle.push_back((now + LINGER, topic));
            }
        }
    }

    /// Whether the topic is heard; `None`: nobody wants it.
    pub(super) fn heard(&self, topic: Topic) -> Option<Heard> {
        self.lock().topics.get(&topic).map(|it| it.heard)
    }

    /// The newest epoch that is known of a shard.
    pub(super) fn epoch(&self, shard: Shard) -> Option<Epoch> {
        let epoch = self.epochs[usize::from(shard.number())].load(Ordering::Acquire);
        (epoch > 0).then_some(epoch)
    }

    /// The newest epochs of all shards.
    pub(super) fn set_epochs(&self, epochs: &[Epoch; SHARDS as usize]) {
        for (known, epoch) in self.epochs.iter().zip(epochs) {
            known.store(*epoch, Ordering::Release);
        }
    }

    /// How far a channel is known to be stored.
    pub(super) fn stored(&self, channel: ChannelId) -> Option<Seq> {
        self.lock().topics.get(&Topic::Channel(channel))?.stored
    }

    /// A channel is stored up to there.
    pub(super) fn store(&self, channel: ChannelId, stored: Seq) {
        if let Some(interest) = self.lock().topics.get_mut(&Topic::Channel(channel)) {
            interest.stored = Some(stored);
        }
    }

    /// These are heard, or are not.
    pub(super) fn set_heard(&self, heard: impl IntoIterator<Item = (Topic, Heard)>) {
        let mut state = self.lock();
        for (topic, heard) in heard {
            if let Some(interest) = state.topics.get_mut(&topic) {
                interest.heard = heard;
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes the topics that are to be subscribed to.
    pub(super) fn take_fresh(&self) -> Vec<Topic> {
        std::mem::take(&mut self.lock().fresh)
    }

    /// Takes the topics that nobody has wanted for a while; they are heard no more.
    pub(super) fn take_idle(&self, now: Instant) -> Vec<Topic> {
        let mut state = self.lock();
        let State {
            topics,
            idle,
            fresh,
            ..
        } = &mut *state;
        let mut over = Vec::new();
        while let Some((until, topic)) = idle.front().copied() {
            if until > now {
                break;
            }
            idle.pop_front();
            // Otherwise it was wanted since; where it was left again, a later turn is its.
            if topics.get(&topic).is_some_and(|it| it.until == Some(until)) {
                topics.remove(&topic);
                fresh.retain(|other| *other != topic);
                over.push(topic);
            }
        }
        over
    }

    /// A new epoch: how the channels of a shard stand in it has to be found out.
    pub(super) fn doubt(&self, shard: Shard) {
        for (topic, interest) in &mut self.lock().topics {
            if matches!(topic, Topic::Channel(channel) if Shard::of(*channel) == shard) {
                interest.heard = Heard::No;
            }
        }
    }

    /// The connection is gone: nothing is heard, everything is to be subscribed to again.
    pub(super) fn reset(&self) -> Vec<Topic> {
        let mut state = self.lock();
        state.fresh.clear();
        for interest in state.topics.values_mut() {
            interest.heard = Heard::No;
        }
        state.topics.keys().copied().collect()
    }

    /// The topics of this process.
    pub(super) fn len(&self) -> usize {
        self.lock().topics.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use banter_protocol::id::UserId;

    use super::*;

    fn topic(n: u8) -> Topic {
        Topic::User(UserId::from_bytes([n; 16]))
    }

    #[test]
    fn a_topic_is_asked_for_once_and_let_go_late() {
        let (topics, start) = (Topics::default(), Instant::now());
        assert!(!topics.want(topic(1)));
        assert!(!topics.want(topic(1)));
        assert_eq!(topics.take_fresh(), [topic(1)]);
        topics.set_heard([(topic(1), Heard::Under(None))]);
        assert!(topics.want(topic(1)));
        for _ in 0..3 {
            topics.release(topic(1), start);
        }
        assert_eq!(topics.take_idle(start + LINGER / 2), []);
        assert_eq!(topics.take_idle(start + LINGER), [topic(1)]);
        assert_eq!(topics.heard(topic(1)), None);
        assert!(!topics.want(topic(1)));
        assert_eq!(topics.take_fresh(), [topic(1)]);
    }

    #[test]
    fn who_comes_back_finds_the_topic_heard() {
        let (topics, start) = (Topics::default(), Instant::now());
        topics.want(topic(1));
        topics.set_heard([(topic(1), Heard::Under(None))]);
        topics.release(topic(1), start);
        assert!(topics.want(topic(1)));
        assert_eq!(topics.take_idle(start + LINGER), []);
        let later = start + LINGER;
        topics.release(topic(1), later);
        assert_eq!(topics.take_idle(later + LINGER / 2), []);
        assert_eq!(topics.take_idle(later + LINGER), [topic(1)]);
    }

    #[test]
    fn after_a_break_everything_is_asked_for_again() {
        let topics = Topics::default();
        topics.want(topic(1));
        topics.take_fresh();
        topics.want(topic(2));
        topics.set_heard([(topic(1), Heard::Under(Some(3)))]);
        let mut again = topics.reset();
        again.sort_unstable();
        assert_eq!(again, [topic(1), topic(2)]);
        assert_eq!(topics.heard(topic(1)), Some(Heard::No));
        assert_eq!(topics.take_fresh(), []);
    }
}
