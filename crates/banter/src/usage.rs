//! Wrong usage: the first line names the culprit, and the exit code is 2.

/// A command that was given something it cannot use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Wrong(pub(crate) String);
