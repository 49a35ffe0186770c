//! Randomness for jitter; nothing secret comes from here.

/// A number from 0 to 1.
#[must_use]
pub(crate) fn unit() -> f64 {
    // Without randomness there is no jitter, which is no reason to fail.
    let bits = getrandom::u32().unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
