//! Refresh tokens: opaque to clients, derived so that the same one can be made again.
//!
//! A token is session, generation and a tag of 256 bits: HMAC of both under the server's secret and
//! the session's random seed. Nobody makes one without both; and an old one proves itself genuine,
//! however old, so that its use gives away whoever copied it.

use banter_protocol::id::SessionId;
use banter_storage::sessions::{Generation, Seed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::secret::{ServerSecret, authenticate};

/// Bytes of session, generation and tag.
const BYTES: usize = 16 + 4 + 32;
/// Characters of their text.
const CHARS: usize = BYTES.div_ceil(3) * 4 - 2;

/// Makes and checks refresh tokens.
pub struct Issuer {
    key: Zeroizing<[u8; 32]>,
}

/// A refresh token as somebody presents it: what it claims, not yet proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// The session that it claims to prolong.
    pub session: SessionId,
    /// Its number there.
    pub generation: Generation,
    tag: [u8; 32],
}

impl Presented {
    /// Reads a token's text; `None`: it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != CHARS {
            return None;
        }
        let bytes: [u8; BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, tag) = rest.split_first_chunk::<4>()?;
        Some(Self {
            session: SessionId::from_bytes(*session),
            generation: Generation::from_be_bytes(*generation),
            tag: tag.try_into().ok()?,
        })
    }
}

impl Issuer {
    /// An issuer under the server's secret.
    #[must_use]
    pub fn new(secret: &ServerSecret) -> Self {
        Self {
            key: secret.derive("banter refresh tokens 1"),
        }
    }

    /// The token of a generation; the same each time it is asked for.
    #[must_use]
    pub fn token(&self, session: SessionId, seed: &Seed, generation: Generation) -> String {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(session.as_bytes());
        bytes[16..20].copy_from_slice(&generation.to_be_bytes());
        bytes[20..].copy_from_slice(&self.tag(session, seed, generation));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether a presented token was made here.
    #[must_use]
    pub fn is_genuine(&self, presented: &Presented, seed: &Seed) -> bool {
        let tag = self.tag(presented.session, seed, presented.generation);
        tag.ct_eq(&presented.tag).into()
    }

    fn tag(&self, session: SessionId, seed: &Seed, generation: Generation) -> [u8; 32] {
        let generation = generation.to_be_bytes();
        authenticate(&self.key, &[seed, session.as_bytes(), &generation])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_proves_session_and_generation() {
        let issuer = Issuer::new(&ServerSecret::from_text("secret"));
        let session = SessionId::from_bytes([1; 16]);
        let seed = [2; 32];
        let token = issuer.token(session, &seed, 7);
        assert_eq!(token.len(), CHARS);
        assert_eq!(token, issuer.token(session, &seed, 7));
        let presented = Presented::parse(&token).unwrap();
        assert_eq!((presented.session, presented.generation), (session, 7));
        assert!(issuer.is_genuine(&presented, &seed));
        assert!(!issuer.is_genuine(&presented, &[3; 32]));
        let other = Presented {
            generation: 8,
            ..presented
        };
        assert!(!issuer.is_genuine(&other, &seed));
        let stranger = Issuer::new(&ServerSecret::from_text("other"));
        assert!(!stranger.is_genuine(&presented, &seed));
    }

    #[test]
    fn anything_else_is_no_token() {
        let token = Issuer::new(&ServerSecret::from_text("secret")).token(
            SessionId::from_bytes([1; 16]),
            &[2; 32],
            7,
        );
        for bad in [
            "",
            "a",
            &token[1..],
            &format!("{token}A"),
            &token.replace('A', "+"),
        ] {
            assert_eq!(Presented::parse(bad), None, "{bad}");
        }
    }
}
