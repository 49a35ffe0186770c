//! Chance that can be repeated: the seed is printed, and taken from `BANTER_TEST_SEED`.

/// A source of numbers (SplitMix64).
pub(crate) struct Seed(u64);

impl Seed {
    /// The seed of this run.
    pub(crate) fn of_run() -> Self {
        let given = std::env::var("BANTER_TEST_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            u64::from(since.subsec_nanos()) ^ since.as_secs() << 30
        });
        eprintln!("to repeat: BANTER_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 to below `end`.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Another source, for somebody who goes on at the same time.
    pub(crate) const fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}
