//! Figures out of many measurements.

pub mod trend;

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time that is told apart from longer ones.
const MICROSECONDS_MAX: u64 = 120_000_000;

/// How long something took, many times: microseconds, exact to a thousandth.
#[derive(Debug, Clone)]
pub struct Times {
    histogram: Histogram<u64>,
}

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROSECONDS_MAX, 3);
        Self {
            histogram: histogram.expect("the bounds are right"),
        }
    }
}

impl Times {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros.max(1));
    }

    /// Counts all that another has counted.
    pub fn add(&mut self, other: &Self) {
        let added = self.histogram.add(&other.histogram);
        added.expect("all have the same bounds");
    }

    /// What was counted: microseconds, and how often; only what occurred.
    #[must_use]
    pub fn counts(&self) -> Vec<(u64, u64)> {
        let recorded = self.histogram.iter_recorded();
        recorded
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }

    /// Counts what [`Self::counts`] of another told.
    pub fn add_counts(&mut self, counts: &[(u64, u64)]) {
        for (micros, count) in counts {
            let micros = (*micros).clamp(1, MICROSECONDS_MAX);
            self.histogram.saturating_record_n(micros, *count);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// How many were counted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether none was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The time that this share of all did not exceed, in milliseconds; 0 when there are none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds are far below 2^52"
    )]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.histogram.value_at_quantile(share) as f64 / 1e3
    }

    /// The median, in milliseconds.
    #[must_use]
    pub fn p50_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    /// What 99 of 100 did not exceed, in milliseconds.
    #[must_use]
    pub fn p99_ms(&self) -> f64 {
        self.quantile_ms(0.99)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut all = Self::default();
        times.into_iter().for_each(|time| all.record(time));
        all
    }
}

/// The middle of some values; of an even number, the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => f64::NAN,
        sorted if sorted.len() % 2 == 1 => sorted[middle],
        sorted => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Values at a quarter, the middle and three quarters of some values; `None` where there are none.
#[must_use]
pub fn quartiles(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some([1, 2, 3].map(|quarter| sorted[(last * quarter + 2) / 4]))
}

/// By how many percent values grow from the first to the last, along the line that fits them best.
/// Chance alone makes some: see that it is more than the values scatter.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "there are not so many values")]
pub fn growth(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    let count = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let (mut along, mut across) = (0.0, 0.0);
    for (place, value) in values.iter().enumerate() {
        let distance = place as f64 - middle;
        along += distance * (value - mean);
        across += distance * distance;
    }
    let slope = along / across;
    let first = mean - slope * middle;
    if first <= 0.0 {
        return 0.0;
    }
    slope * (count - 1.0) / first * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `found` is `expected` but for the thousandth that a histogram loses.
    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected / 900.0
    }

    #[test]
    fn quantiles_of_a_known_series() {
        let times: Times = (1..=10_000).map(Duration::from_micros).collect();
        assert_eq!(times.len(), 10_000);
        assert!(close(times.p50_ms(), 5.0), "{}", times.p50_ms());
        assert!(close(times.p99_ms(), 9.9), "{}", times.p99_ms());
        assert!(close(times.quantile_ms(0.999), 9.99));
        assert!(close(times.quantile_ms(1.0), 10.0));
    }

    #[test]
    fn a_rare_stall_shows_at_its_size() {
        let ordinary = std::iter::repeat_n(Duration::from_millis(2), 9_980);
        let stalled = std::iter::repeat_n(Duration::from_millis(500), 20);
        let times: Times = ordinary.chain(stalled).collect();
        assert!(close(times.p99_ms(), 2.0));
        assert!(close(times.quantile_ms(0.999), 500.0));
    }

    #[test]
    fn beyond_the_longest_time_nothing_is_lost() {
        let times: Times = [Duration::ZERO, Duration::from_secs(3_600)]
            .into_iter()
            .collect();
        assert_eq!(times.len(), 2);
        assert!(times.quantile_ms(1.0) >= 119_000.0);
        assert!(Times::default().is_empty());
    }

    #[test]
    fn growth_is_seen_through_the_scatter() {
        let scatter = |place: u32| f64::from(place * 7_919 % 11) - 5.0;
        let steady = growth((0..600).map(|place| 1_000.0 + scatter(place)));
        assert!(steady.abs() < 0.2, "{steady}");
        let leak = growth((0..600).map(|place| 1_000.0 + f64::from(place) / 6.0 + scatter(place)));
        assert!((leak - 10.0).abs() < 0.3, "{leak}");
        assert!(growth([1.0].into_iter()).abs() < 1e-9);
        assert_eq!(quartiles(&[4.0, 1.0, 3.0, 2.0, 5.0]), Some([2.0, 3.0, 4.0]));
        assert_eq!(quartiles(&[]), None);
    }

    #[test]
    fn the_middle_of_few() {
        assert!(close(median(&[3.0, 1.0, 2.0]), 2.0));
        assert!(close(median(&[4.0, 1.0, 2.0, 3.0]), 2.5));
        assert!(median(&[]).is_nan());
    }
}
