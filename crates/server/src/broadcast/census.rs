//! Who takes part in what, and how far entries reach: counted over all pumps of the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banter_protocol::id::ChannelId;

use crate::clock;
use crate::metric::Metrics;

/// Shared by the pumps.
#[derive(Debug, Clone)]
pub(super) struct Census {
    /// How many pumps have sockets in a channel. Changes with the first and the last socket of a
    /// pump only.
    channels: Arc<Mutex<HashMap<ChannelId, usize>>>,
    metrics: Metrics,
}

/// How many live sockets an entry goes to: each pump adds its own, the last one tells the sum.
#[derive(Debug)]
pub(super) struct Reach {
    pumps_left: AtomicUsize,
    sockets: AtomicUsize,
}

impl Reach {
    /// Of an entry that so many pumps will look at.
    pub(super) const fn new(pumps: usize) -> Self {
        Self {
            pumps_left: AtomicUsize::new(pumps),
            sockets: AtomicUsize::new(0),
        }
    }
}

impl Census {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            channels: Arc::default(),
            metrics: metrics.clone(),
        }
    }

    /// A socket takes part in a channel; whether it is the first of its pump.
    pub(super) fn watches(&self, channel: ChannelId, first: bool) {
        self.metrics.subscriptions.inc();
        if first {
            let mut channels = self.lock();
            *channels.entry(channel).or_default() += 1;
            self.tell(&channels);
        }
    }

    /// A socket takes part no more; whether it was the last of its pump.
    pub(super) fn unwatches(&self, channel: ChannelId, last: bool) {
        self.metrics.subscriptions.dec();
        if !last {
            return;
        }
        let mut channels = self.lock();
        if let Some(pumps) = channels.get_mut(&channel) {
            *pumps -= 1;
            if *pumps == 0 {
                channels.remove(&channel);
            }
        }
        self.tell(&channels);
    }

    /// A pump has so many live sockets for an entry.
    #[expect(clippy::cast_precision_loss, reason = "sockets are far below 2^52")]
    pub(super) fn reached(&self, reach: &Reach, sockets: usize) {
        // The last pump must see what the others have added.
        reach.sockets.fetch_add(sockets, Ordering::Release);
        if reach.pumps_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let all = reach.sockets.load(Ordering::Acquire);
            self.metrics.fanout.observe(all as f64);
        }
    }

    /// Entries with these times, in milliseconds since 1970, were written just now.
    pub(super) fn written(&self, sent: &mut Vec<i64>) {
        let now_ms = clock::now_ms();
        for sent_ms in sent.drain(..) {
            // A clock that was set back makes no negative latency.
            let lag_ms = u64::try_from(now_ms.saturating_sub(sent_ms)).unwrap_or(0);
            let latency = &self.metrics.delivery_latency;
            latency.observe_duration(Duration::from_millis(lag_ms));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, usize>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, channels: &HashMap<ChannelId, usize>) {
        let count = i64::try_from(channels.len()).unwrap_or(i64::MAX);
        self.metrics.channels.set(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_of_two_pumps_is_one_channel() {
        let metrics = Metrics::new();
        let census = Census::new(&metrics);
        let channel = ChannelId::from_bytes([1; 16]);
        census.watches(channel, true);
        census.watches(channel, false);
        census.watches(channel, true);
        assert_eq!(
            (metrics.channels.get(), metrics.subscriptions.get()),
            (1, 3)
        );
        census.unwatches(channel, true);
        census.unwatches(channel, false);
        assert_eq!(
            (metrics.channels.get(), metrics.subscriptions.get()),
            (1, 1)
        );
        census.unwatches(channel, true);
        assert_eq!(
            (metrics.channels.get(), metrics.subscriptions.get()),
            (0, 0)
        );
    }

    #[test]
    fn an_entry_reaches_the_sockets_of_all_pumps_once() {
        let metrics = Metrics::new();
        let census = Census::new(&metrics);
        let reach = Reach::new(2);
        census.reached(&reach, 3);
        let told = |text: &str| metrics.encode().contains(text);
        assert!(told("banter_gateway_fanout_recipients_count 0"));
        census.reached(&reach, 4);
        assert!(told("banter_gateway_fanout_recipients_count 1"));
        assert!(told("banter_gateway_fanout_recipients_sum 7"));
    }
}
