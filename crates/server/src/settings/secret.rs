//! A value that is never shown.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

/// Fewest characters of a secret: 32 random ones hold more than 128 bits in any usual alphabet.
const CHARS_MIN: usize = 32;

/// Text that opens something. Its `Debug` form says nothing of it; memory is wiped after use.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text, for the one use that it has.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.chars().count() < CHARS_MIN {
            return Err(format!("must have at least {CHARS_MIN} characters"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_and_not_shown() {
        assert!("short".parse::<Secret>().is_err());
        let secret: Secret = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
        assert_eq!(secret.reveal().len(), 32);
    }
}
