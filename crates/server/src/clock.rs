//! The one place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use banter_protocol::time::Timestamp;

/// Milliseconds since 1970.
#[must_use]
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_ms(now_ms())
}
