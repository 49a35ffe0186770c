//! Chance that can be repeated: the seed is printed, and taken from `BANTER_TEST_SEED`.

use std::time::{SystemTime, UNIX_EPOCH};

/// A source of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Seed(u64);

impl Seed {
    /// The seed of this run.
    pub(crate) fn of_run() -> Self {
        let given = std::env::var("BANTER_TEST_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or_else(now);
        eprintln!("to repeat: BANTER_TEST_SEED={seed}");
        Self(seed)
    }

    /// One of many sources that do not depend on each other's use.
    pub(crate) const fn from(seed: u64) -> Self {
        Self(seed)
    }

    /// Another seed each time.
    pub(crate) fn unrepeatable() -> Self {
        Self(now() ^ (u64::from(std::process::id()) << 32))
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos() & u128::from(u64::MAX)).unwrap_or(1)
}
