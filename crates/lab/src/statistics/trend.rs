//! Whether a series of measurements rises, and how sure that is.
//!
//! Measurements of neighbouring seconds are alike, so that a plain regression over all of them
//! believes itself too much. The series is cut into blocks, of which only the medians count; the
//! slope is the median of the slopes of all pairs of them (Theil and Sen), which no outlier moves;
//! its interval is that of Kendall's rank test, made wider by what is left of the likeness.

use serde::Serialize;

use super::median;

/// Blocks of a series: enough for an interval, few enough to be long.
const BLOCKS: usize = 30;
/// With fewer, nothing is said.
const BLOCKS_MIN: usize = 10;
/// The normal distribution's bound that 95 of 100 keep, on both sides.
const Z: f64 = 1.96;
/// Likeness of neighbours beyond this is a trend itself.
const LIKENESS_MAX: f64 = 0.8;

/// A straight line through a series, and how sure its slope is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trend {
    /// By how much it rises an hour.
    pub per_hour: f64,
    /// With 95 % certainty not less than this…
    pub low: f64,
    /// …and not more than that.
    pub high: f64,
    /// Where the line begins.
    pub first: f64,
    /// Where it ends.
    pub last: f64,
    /// How long the series is, in hours.
    pub hours: f64,
}

/// A series of times in seconds, ascending, and values; `None`: it is too short to tell.
#[must_use]
pub fn trend(series: &[(f64, f64)]) -> Option<Trend> {
    let blocks = blocks(series)?;
    let mut slopes = Vec::new();
    for (place, from) in blocks.iter().enumerate() {
        for to in &blocks[place + 1..] {
            slopes.push((to.1 - from.1) / (to.0 - from.0));
        }
    }
    slopes.sort_by(f64::total_cmp);
    let slope = median(&slopes);
    let offsets: Vec<f64> = blocks
        .iter()
        .map(|(at, value)| value - slope * at)
        .collect();
    let offset = median(&offsets);
    let residuals: Vec<f64> = offsets.iter().map(|value| value - offset).collect();
    let width = Z * (variance(&blocks) * widening(&residuals)).sqrt();
    let (low, high) = bounds(&slopes, width);
    let (begin, end) = (series.first()?.0, series.last()?.0);
    Some(Trend {
        per_hour: slope * 3_600.0,
        low: low * 3_600.0,
        high: high * 3_600.0,
        first: offset + slope * begin,
        last: offset + slope * end,
        hours: (end - begin) / 3_600.0,
    })
}

impl Trend {
    /// By how much it rises from its beginning to its end.
    #[must_use]
    pub fn rise(&self) -> f64 {
        self.last - self.first
    }
}

/// The middle and the median of each block.
fn blocks(series: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
    let count = BLOCKS.min(series.len());
    let span = series.last()?.0 - series.first()?.0;
    if count < BLOCKS_MIN || span <= 0.0 {
        return None;
    }
    let blocks = (0..count).map(|number| {
        let piece = &series[number * series.len() / count..(number + 1) * series.len() / count];
        let of =
            |which: fn(&(f64, f64)) -> f64| median(&piece.iter().map(which).collect::<Vec<_>>());
        (of(|(at, _)| *at), of(|(_, value)| *value))
    });
    Some(blocks.collect())
}

/// The variance of Kendall's statistic; equal values make it less.
#[expect(clippy::cast_precision_loss, reason = "blocks are few")]
fn variance(blocks: &[(f64, f64)]) -> f64 {
    let term = |n: usize| (n * n.saturating_sub(1) * (2 * n + 5)) as f64;
    let mut values: Vec<f64> = blocks.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let ties = values.chunk_by(|a, b| a.total_cmp(b).is_eq());
    let ties: f64 = ties.map(|equal| term(equal.len())).sum();
    (term(blocks.len()) - ties) / 18.0
}

/// How much wider the interval is for what neighbours have in common.
fn widening(residuals: &[f64]) -> f64 {
    let all: f64 = residuals.iter().map(|r| r * r).sum();
    if all <= 0.0 {
        return 1.0;
    }
    let pairs = residuals.windows(2).map(|two| two[0] * two[1]);
    let likeness = (pairs.sum::<f64>() / all).clamp(0.0, LIKENESS_MAX);
    (1.0 + likeness) / (1.0 - likeness)
}

/// The slopes between which the true one is.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pairs of blocks are few"
)]
fn bounds(slopes: &[f64], width: f64) -> (f64, f64) {
    let last = slopes.len().saturating_sub(1) as f64;
    let place = |at: f64| slopes[at.clamp(0.0, last) as usize];
    let middle = slopes.len() as f64 / 2.0;
    (
        place(middle - width / 2.0),
        place((middle + width / 2.0).ceil()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::chance::Chance;

    /// Ten minutes of 100 with noise of 1, of which so much is taken from the second before, and a
    /// rise of so much.
    fn series(seed: u64, likeness: f64, rise: f64) -> Vec<(f64, f64)> {
        let mut chance = Chance::new(seed);
        let mut noise = 0.0;
        let fresh = (1.0 - likeness * likeness).sqrt();
        let points = (0..600_u32).map(|second| {
            // A sum of twelve is as good as a bell.
            let bell = (0..12).map(|_| chance.share()).sum::<f64>() - 6.0;
            noise = likeness * noise + fresh * bell;
            let at = f64::from(second);
            (at, 100.0 + rise * at / 600.0 + noise)
        });
        points.collect()
    }

    fn rising(likeness: f64, rise: f64) -> usize {
        let found = (0..400).filter_map(|seed| trend(&series(seed, likeness, rise)));
        found.filter(|trend| trend.low > 0.0).count()
    }

    #[test]
    fn a_rise_is_found_and_measured() {
        for seed in 0..50 {
            let found = trend(&series(seed, 0.0, 3.0)).unwrap();
            assert!(found.low > 0.0 && found.low <= found.per_hour && found.per_hour <= found.high);
            assert!((found.rise() - 3.0).abs() < 0.8, "{seed}: {found:?}");
            assert!((found.first - 100.0).abs() < 0.5, "{seed}: {found:?}");
            assert!((found.hours - 599.0 / 3_600.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_true_slope_is_within_the_interval() {
        let within = (0..400).filter(|seed| {
            let found = trend(&series(*seed, 0.0, 1.0)).unwrap();
            let truth = 1.0 * 3_600.0 / 600.0;
            (found.low..=found.high).contains(&truth)
        });
        let within = within.count();
        assert!((370..=396).contains(&within), "{within} of 400");
    }

    #[test]
    fn what_is_flat_seldom_looks_like_a_rise() {
        // One in forty would be right for a bound on one side.
        for likeness in [0.0, 0.5, 0.9, 0.95] {
            let found = rising(likeness, 0.0);
            assert!(found <= 30, "{found} of 400 at a likeness of {likeness}");
        }
        // The test is not blind for that: a rise of the noise's own size is found.
        assert!(rising(0.9, 3.0) >= 350, "{}", rising(0.9, 3.0));
    }

    #[test]
    fn a_spike_is_no_rise_and_a_constant_has_no_doubt() {
        let mut spiked = series(1, 0.0, 0.0);
        let without = trend(&spiked).unwrap();
        for (_, value) in &mut spiked[560..575] {
            *value += 1_000.0;
        }
        let with = trend(&spiked).unwrap();
        assert!((with.per_hour - without.per_hour).abs() < 2.0, "{with:?}");
        let constant: Vec<_> = (0..60).map(|second| (f64::from(second), 17.0)).collect();
        let found = trend(&constant).unwrap();
        assert_eq!((found.per_hour, found.low, found.high), (0.0, 0.0, 0.0));
        assert_eq!((found.first, found.last), (17.0, 17.0));
    }

    #[test]
    fn of_too_little_nothing_is_said() {
        assert_eq!(trend(&[]), None);
        let few: Vec<_> = (0..9).map(|second| (f64::from(second), 1.0)).collect();
        assert_eq!(trend(&few), None);
        assert_eq!(trend(&[(1.0, 1.0); 40]), None);
    }
}
