//! A histogram that many threads feed without a lock, and that the status page can read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::name::Name;

/// Counts observations by size. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    bounds: &'static [f64],
    /// One more than there are bounds: the last is for what is above all.
    buckets: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

/// What a histogram had counted at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    bounds: &'static [f64],
    buckets: Vec<u64>,
}

impl Histogram {
    /// An empty one with the bounds of this name.
    pub(super) fn of(name: Name) -> Self {
        let bounds = name.bounds();
        Self(Arc::new(Counts {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }))
    }

    /// Counts one observation, in the unit of the name.
    pub fn observe(&self, value: f64) {
        let counts = &*self.0;
        let bucket = counts.bounds.partition_point(|bound| *bound < value);
        counts.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // It always takes what it is given.
        let _ = counts
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Counts one duration.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// What was counted so far.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: self.0.bounds,
            buckets: self.counted(),
        }
    }

    fn counted(&self) -> Vec<u64> {
        let load = |bucket: &AtomicU64| bucket.load(Ordering::Relaxed);
        self.0.buckets.iter().map(load).collect()
    }
}

impl Snapshot {
    /// What came after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().copied().chain(std::iter::repeat(0));
        let buckets = self.buckets.iter().zip(before);
        Self {
            bounds: self.bounds,
            buckets: buckets
                .map(|(now, before)| now.saturating_sub(before))
                .collect(),
        }
    }

    /// The value that this share of the observations does not exceed, as Prometheus estimates it;
    /// `None` when there are none. What is above all bounds counts as the highest of them.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let count: u64 = self.buckets.iter().sum();
        if count == 0 {
            return None;
        }
        let rank = share * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bucket, upper) in self.buckets.iter().zip(self.bounds) {
            let in_bucket = *bucket as f64;
            if in_bucket > 0.0 && below + in_bucket >= rank {
                return Some(lower + (upper - lower) * ((rank - below) / in_bucket).max(0.0));
            }
            below += in_bucket;
            lower = *upper;
        }
        Some(lower)
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let counted = self.counted();
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counted.iter().copied()).collect();
        let sum = f64::from_bits(self.0.sum.load(Ordering::Relaxed));
        let count = counted.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_are_counted_where_they_belong() {
        let histogram = Histogram::of(Name::GatewayAckDuration);
        for value in [0.0, 0.001, 0.0011, 7.0, 11.0] {
            histogram.observe(value);
        }
        let counted = histogram.counted();
        assert_eq!(counted[..3], [2, 1, 0]);
        assert_eq!(counted[12..], [1, 1]);
        let sum = f64::from_bits(histogram.0.sum.load(Ordering::Relaxed));
        assert!((sum - 18.0021).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn quantiles_are_those_of_the_time_between() {
        let histogram = Histogram::of(Name::GatewayAckDuration);
        histogram.observe(5.0);
        let before = histogram.snapshot();
        for _ in 0..100 {
            histogram.observe(0.02);
        }
        let between = histogram.snapshot().since(&before);
        // In the middle of the bucket from 10 to 25 ms.
        assert!((between.quantile(0.5).unwrap() - 0.0175).abs() < 1e-9);
        assert!(between.quantile(0.99).unwrap() <= 0.025);
        histogram.observe(60.0);
        let above = histogram.snapshot().since(&before);
        assert_eq!(above.quantile(1.0), Some(10.0));
    }

    #[test]
    fn threads_lose_nothing() {
        let histogram = Histogram::of(Name::GatewayPingRtt);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| histogram.observe(0.5)));
            }
        });
        let counted: u64 = histogram.counted().iter().sum();
        assert_eq!(counted, 40_000);
        let sum = f64::from_bits(histogram.0.sum.load(Ordering::Relaxed));
        assert!((sum - 20_000.0).abs() < 1e-6);
    }
}
