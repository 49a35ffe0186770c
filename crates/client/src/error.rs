//! What can go wrong between a client and its server.

use std::fmt;
use std::time::Duration;

use banter_protocol::error::Code;
use serde::Deserialize;

/// Why a call or a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text given as the server's address is none.
    #[error("{0:?} is no server address; it looks like http://HOST:PORT or https://HOST")]
    Address(String),
    /// No answer: the server is down, unknown, or the network is.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// The server's address.
        server: String,
        /// What the network said.
        reason: String,
    },
    /// The server refused, with a reason.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// What answered does not speak this protocol.
    #[error("{server} does not answer like a Banter server: {reason}")]
    Foreign {
        /// The server's address.
        server: String,
        /// What was odd.
        reason: String,
    },
    /// The server closed the socket for good.
    #[error("the server closed the connection: {reason} ({code})")]
    Closed {
        /// The close code.
        code: u16,
        /// The reason's name.
        reason: String,
    },
    /// The session is over: logged out, or expired.
    #[error("the session has ended; log in again")]
    SessionEnded,
    /// The kept session cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Store {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether this refusal has the given code.
    #[must_use]
    pub fn is(&self, code: Code) -> bool {
        matches!(self, Error::Refused(problem) if problem.code == code.as_str())
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Refused(problem) => problem.status >= 500 || problem.status == 429,
            _ => false,
        }
    }

    /// How long the server asks to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused(problem) => problem.retry_after,
            _ => None,
        }
    }
}

/// A refusal over HTTP (RFC 9457).
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable reason; see [`Code`].
    pub code: String,
    /// One sentence for people.
    #[serde(default)]
    pub title: String,
    /// What this case has of its own.
    #[serde(default)]
    pub detail: Option<String>,
    /// From the answer's `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title.trim_end_matches('.');
        match &self.detail {
            Some(detail) if title.is_empty() => f.write_str(detail)?,
            Some(detail) => write!(f, "{title}: {}", detail.trim_end_matches('.'))?,
            None if title.is_empty() => f.write_str(&self.code)?,
            None => f.write_str(title)?,
        }
        match self.retry_after {
            Some(wait) => write!(f, " (again in {} s)", wait.as_secs()),
            None => Ok(()),
        }
    }
}

/// The innermost cause of an error, in the system's words.
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
