//! Texts that people choose: names, topics, bodies. Each is checked when it is made and never
//! changed afterwards; only usernames are folded to lower case.

use std::fmt;

use serde::{Serialize, Serializer};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::error::Code;
use crate::limit;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes a text that was checked when it was stored.
            #[must_use]
            pub fn from_stored(text: impl Into<Box<str>>) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

text!(
    /// An account's name: `[a-z0-9._-]{3,32}`, for ever.
    #[derive(Debug)]
    Username
);
text!(
    /// A channel's name, in NFC.
    #[derive(Debug)]
    ChannelName
);
text!(
    /// What a channel is about; may be empty.
    #[derive(Debug)]
    Topic
);
text!(
    /// The text of a message.
    Body
);

impl fmt::Debug for Body {
    /// What people write never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl Username {
    /// Folds to lower case, then checks.
    ///
    /// # Errors
    /// [`Code::UsernameInvalid`].
    pub fn parse(text: &str) -> Result<Self, Code> {
        let folded = text.to_ascii_lowercase();
        let length = limit::USERNAME_CHARS_MIN..=limit::USERNAME_CHARS_MAX;
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if !length.contains(&folded.len()) || !folded.bytes().all(allowed) {
            return Err(Code::UsernameInvalid);
        }
        Ok(Self(folded.into()))
    }
}

impl ChannelName {
    /// Checks length, normalisation, control characters and outer white space.
    ///
    /// # Errors
    /// [`Code::NameInvalid`].
    pub fn parse(text: &str) -> Result<Self, Code> {
        let length = 1..=limit::CHANNEL_NAME_CHARS_MAX;
        let outer_space = text.trim() != text;
        if !length.contains(&text.chars().count())
            || text.chars().any(char::is_control)
            || outer_space
            || !is_nfc(text)
        {
            return Err(Code::NameInvalid);
        }
        Ok(Self(text.into()))
    }

    /// What must be unique among public channels: the name under Unicode case folding, in NFC.
    #[must_use]
    pub fn folded(&self) -> String {
        unicase::UniCase::unicode(self.as_str())
            .to_folded_case()
            .nfc()
            .collect()
    }
}

impl Topic {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Code::TopicInvalid`].
    pub fn parse(text: &str) -> Result<Self, Code> {
        if text.chars().count() > limit::TOPIC_CHARS_MAX || text.contains('\0') {
            return Err(Code::TopicInvalid);
        }
        Ok(Self(text.into()))
    }
}

impl Body {
    /// Checks length, white space and U+0000.
    ///
    /// # Errors
    /// [`Code::BodyInvalid`].
    pub fn parse(text: &str) -> Result<Self, Code> {
        let length = 1..=limit::BODY_BYTES_MAX;
        if !length.contains(&text.len()) || text.contains('\0') || text.trim().is_empty() {
            return Err(Code::BodyInvalid);
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_folded_and_ascii() {
        assert_eq!(Username::parse("Ann.B-1_").unwrap().as_str(), "ann.b-1_");
        for bad in [
            "ab",
            "",
            &"a".repeat(33),
            "änn",
            "a b c",
            "ann!",
            "K\u{212a}elvin",
        ] {
            assert_eq!(Username::parse(bad), Err(Code::UsernameInvalid), "{bad:?}");
        }
    }

    #[test]
    fn channel_names_are_nfc_without_outer_space() {
        for good in ["a", "Größe", "two words", &"é".repeat(80)] {
            assert!(ChannelName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\u{301}e\u{301}",
            "\u{3000}a",
            &"é".repeat(81),
        ] {
            assert_eq!(ChannelName::parse(bad), Err(Code::NameInvalid), "{bad:?}");
        }
    }

    #[test]
    fn names_are_compared_under_case_folding() {
        let folded = |text| ChannelName::parse(text).unwrap().folded();
        assert_eq!(folded("STRASSE"), folded("Straße"));
        assert_eq!(folded("Ünï"), folded("üNÏ"));
        assert_ne!(folded("a"), folded("b"));
    }

    #[test]
    fn bodies_are_not_blank_and_bounded_in_bytes() {
        assert!(Body::parse(&"é".repeat(8192)).is_ok());
        for bad in ["", " \n\u{3000}", "a\0b", &"é".repeat(8193)] {
            assert_eq!(Body::parse(bad).err(), Some(Code::BodyInvalid));
        }
    }
}
