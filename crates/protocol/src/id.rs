//! Identifiers and positions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::limit;

/// What is wrong with an identifier's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier")]
pub struct InvalidId;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The identifier with these 16 bytes, as stored.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Wraps a freshly made `UUIDv7`.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The 16 bytes, as stored.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Takes the canonical form only: 36 characters, lower case, with hyphens.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

uuid_id!(
    /// Identifies an account, for ever.
    UserId
);
uuid_id!(
    /// Identifies a channel, for ever.
    ChannelId
);
uuid_id!(
    /// Identifies a session: one login and what its refresh tokens prolong.
    SessionId
);
uuid_id!(
    /// Identifies an incoming webhook.
    WebhookId
);

/// The sender's own name for a message: 1 to 64 bytes of ASCII 0x21 to 0x7E.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct MessageId(Box<str>);

impl MessageId {
    /// The text, verbatim.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Milliseconds since 1970 of a `UUIDv7`; `None` for any other id.
    #[must_use]
    pub fn uuid_v7_ms(&self) -> Option<i64> {
        if self.0.len() != 36 {
            return None;
        }
        let uuid = Uuid::try_parse(&self.0).ok()?;
        if uuid.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
        i64::try_from(seconds)
            .ok()?
            .checked_mul(1000)?
            .checked_add(i64::from(nanos / 1_000_000))
    }

    /// Whether a `UUIDv7`'s time lies further ahead of `now_ms` than the limit allows.
    #[must_use]
    pub fn is_from_the_future(&self, now_ms: i64) -> bool {
        let ahead = i64::try_from(limit::MESSAGE_ID_AHEAD_MAX.as_millis()).unwrap_or(i64::MAX);
        self.uuid_v7_ms()
            .is_some_and(|made| made > now_ms.saturating_add(ahead))
    }
}

impl From<Uuid> for MessageId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.to_string().into())
    }
}

impl FromStr for MessageId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let printable = text.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if text.is_empty() || text.len() > limit::MESSAGE_ID_BYTES_MAX || !printable {
            return Err(InvalidId);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Number of an entry in its channel, from 1; 0 stands before the first.
pub type Seq = u64;

/// The history that an entry was written in; compared for equality only.
pub type Epoch = u64;

/// Where a member stands in a channel: the last entry it applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Number of the last applied entry; 0: from the beginning.
    pub seq: Seq,
    /// Epoch of that entry.
    pub epoch: Epoch,
}

impl<'de> Deserialize<'de> for Position {
    /// Takes an object only; a derived reader would take `[41, 1]` too.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(deserialize_with = "exact_integer")]
            seq: Seq,
            #[serde(deserialize_with = "exact_integer")]
            epoch: Epoch,
        }
        struct Object;
        impl<'de> de::Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Fields, A::Error> {
                Fields::deserialize(de::value::MapAccessDeserializer::new(map))
            }
        }
        let Fields { seq, epoch } = deserializer.deserialize_map(Object)?;
        Ok(Self { seq, epoch })
    }
}

/// Reads an integer from 0 to 2^53 - 1; a number beyond is ill-typed.
///
/// # Errors
/// Anything else is refused.
pub fn exact_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > limit::INTEGER_MAX {
        return Err(de::Error::custom("number beyond 2^53 - 1"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_printable_ascii_of_bounded_length() {
        for good in ["a", "!~", &"x".repeat(64)] {
            assert!(good.parse::<MessageId>().is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "é", "\u{7f}", &"x".repeat(65)] {
            assert!(bad.parse::<MessageId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_a_uuid_of_version_7_has_a_time() {
        let id: MessageId = "0190163d-8694-739b-aea5-966c26f8ad90".parse().unwrap();
        assert_eq!(id.uuid_v7_ms(), Some(0x0190_163d_8694));
        assert!(!id.is_from_the_future(0x0190_163d_8694));
        assert!(!id.is_from_the_future(0x0190_163d_8694 - 300_000));
        assert!(id.is_from_the_future(0x0190_163d_8694 - 300_001));
        let other: MessageId = "7f3e8a52-2f6b-4b52-9d4e-0f8f4f0d1c11".parse().unwrap();
        assert_eq!(other.uuid_v7_ms(), None);
    }

    #[test]
    fn identifiers_have_one_spelling() {
        let text = "0190163d-8694-739b-aea5-966c26f8ad90";
        assert_eq!(text.parse::<ChannelId>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<ChannelId>().is_err());
        assert!(text.replace('-', "").parse::<ChannelId>().is_err());
        assert!("general".parse::<ChannelId>().is_err());
    }

    #[test]
    fn positions_hold_exact_integers_only() {
        let parse = |text: &str| serde_json::from_str::<Position>(text);
        assert!(parse(r#"{"seq":9007199254740991,"epoch":1}"#).is_ok());
        for bad in [
            r#"{"seq":9007199254740992,"epoch":1}"#,
            r#"{"seq":-1,"epoch":1}"#,
            r#"{"seq":1.5,"epoch":1}"#,
            r#"{"seq":"1","epoch":1}"#,
            r#"{"seq":1}"#,
            r#"{"seq":1e400,"epoch":1}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
