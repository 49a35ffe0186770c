//! Messages of the tests: fresh ids, and bodies that would be recognised in a log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::{NoContext, Timestamp, Uuid};

use super::MARK;

/// A fresh id, as a good client makes it.
pub(crate) fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}

/// An id whose time lies so far ahead.
pub(crate) fn id_ahead(ahead: Duration) -> String {
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        + ahead;
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        at.as_secs(),
        at.subsec_nanos(),
    ))
    .to_string()
}

/// A short body.
pub(crate) fn words(number: impl std::fmt::Display) -> String {
    format!("{MARK} {number}")
}

/// A body of so many bytes.
pub(crate) fn words_of(bytes: usize) -> String {
    MARK.chars().cycle().take(bytes).collect()
}
