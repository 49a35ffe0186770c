//! What scripts answer.

use banter_protocol::id::ChannelId;
use redis::Value;

use super::record;
use crate::error::{Error, Result};

/// The answer of a script that names an epoch.
pub(super) enum Reply {
    /// Another epoch is current; nothing was done.
    Stale,
    /// These channels must be seeded first; nothing was done.
    Seed(Vec<ChannelId>),
    /// Done.
    Done(std::vec::IntoIter<Value>),
}

impl Reply {
    pub(super) fn read(answer: Option<Value>) -> Result<Self> {
        let Some(Value::Array(values)) = answer else {
            return Err(unexpected());
        };
        let mut values = values.into_iter();
        match bytes(values.next().ok_or_else(unexpected)?)?.as_slice() {
            b"OK" => Ok(Self::Done(values)),
            b"STALE" => Ok(Self::Stale),
            b"SEED" => values.map(channel).collect::<Result<_>>().map(Self::Seed),
            _ => Err(unexpected()),
        }
    }
}

/// A number, written as one or as text.
pub(super) fn number(value: Option<Value>) -> Result<u64> {
    match value {
        Some(Value::Int(number)) => u64::try_from(number).ok(),
        Some(Value::BulkString(text)) => std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok()),
        _ => None,
    }
    .ok_or_else(unexpected)
}

/// A text.
pub(super) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        _ => Err(unexpected()),
    }
}

/// A channel's 32 digits.
pub(super) fn channel(value: Value) -> Result<ChannelId> {
    let digits = bytes(value)?;
    let digits = std::str::from_utf8(&digits).map_err(|_| unexpected())?;
    let bytes = record::unhex(digits).ok_or_else(unexpected)?;
    Ok(ChannelId::from_bytes(bytes))
}

/// The server answers as none of ours does.
pub(super) fn unexpected() -> Error {
    Error::Unavailable("Redis answered something else".into())
}
