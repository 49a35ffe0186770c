//! The keys that sign access tokens: made, encrypted, published.

use std::sync::Arc;

use banter_protocol::time::Timestamp;
use banter_storage::keys::{Key, NewKey, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use ed25519_dalek::SigningKey;
use jsonwebtoken::EncodingKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::jwks::PublicKeys;
use super::secret::ServerSecret;

/// Bytes of the nonce before the ciphertext.
const NONCE: usize = 24;

/// Why stored keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Encrypted with another secret.
    #[error(
        "the signing keys were encrypted with another secret; bring it back, or make new keys with \
         `banter keys rotate --compromised`, which ends every session"
    )]
    OtherSecret,
    /// There is none to sign with.
    #[error("there is no active signing key; make one with `banter keys rotate --compromised`")]
    NoActive,
}

/// The keys in use, made ready.
pub struct KeySet {
    active: Active,
    public: Arc<PublicKeys>,
}

/// The key that signs.
pub struct Active {
    /// Its name.
    pub kid: String,
    /// Itself.
    pub signing: EncodingKey,
    /// Since when it signs.
    pub since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

impl KeySet {
    /// Makes the stored keys ready.
    ///
    /// # Errors
    /// When there is none to sign with, or it cannot be decrypted.
    pub fn new(keys: &[Key], secret: &ServerSecret) -> Result<Self, Unusable> {
        let mut active = None;
        for key in keys {
            if key.state != State::Retired {
                let private = open(secret, key)?;
                if key.state == State::Active {
                    active = Some(Active {
                        kid: key.kid.clone(),
                        // Not DER: our provider in `token` takes the 32 bytes themselves.
                        signing: EncodingKey::from_ed_der(&private),
                        since: key.since,
                        created_at: key.created_at,
                    });
                }
            }
        }
        let public = keys.iter().map(|key| (key.kid.clone(), key.public));
        Ok(Self {
            active: active.ok_or(Unusable::NoActive)?,
            public: Arc::new(public.collect()),
        })
    }

    /// The key that signs.
    #[must_use]
    pub const fn active(&self) -> &Active {
        &self.active
    }

    /// What checks what they signed.
    #[must_use]
    pub const fn public(&self) -> &Arc<PublicKeys> {
        &self.public
    }
}

/// Makes a key and encrypts its private part.
///
/// # Errors
/// When the system gives no randomness.
pub fn generate(secret: &ServerSecret) -> Result<NewKey, getrandom::Error> {
    let mut private = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *private)?;
    let public = SigningKey::from_bytes(&private).verifying_key().to_bytes();
    let kid = thumbprint(&public);
    let mut sealed = vec![0; NONCE];
    getrandom::fill(&mut sealed)?;
    let nonce = <[u8; NONCE]>::try_from(&sealed[..]).unwrap_or_default();
    let payload = Payload {
        msg: &*private,
        aad: kid.as_bytes(),
    };
    let encrypted = cipher(secret).encrypt(&XNonce::from(nonce), payload);
    sealed.extend(encrypted.expect("32 bytes are not too long to encrypt"));
    Ok(NewKey {
        kid,
        public,
        sealed,
    })
}

pub(super) fn open(secret: &ServerSecret, key: &Key) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let (nonce, encrypted) = key
        .sealed
        .split_first_chunk::<NONCE>()
        .ok_or(Unusable::OtherSecret)?;
    let payload = Payload {
        msg: encrypted,
        aad: key.kid.as_bytes(),
    };
    cipher(secret)
        .decrypt(&XNonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| Unusable::OtherSecret)
}

fn cipher(secret: &ServerSecret) -> XChaCha20Poly1305 {
    let key = secret.derive("banter signing keys 1");
    XChaCha20Poly1305::new((&*key).into())
}

/// The name of a key: RFC 7638, so that the same key has the same name everywhere.
fn thumbprint(public: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key: NewKey, state: State) -> Key {
        Key {
            kid: key.kid,
            state,
            public: key.public,
            sealed: key.sealed,
            created_at: Timestamp::from_ms(0),
            since: Timestamp::from_ms(0),
        }
    }

    #[test]
    fn a_key_opens_with_its_secret_alone() {
        let secret = ServerSecret::from_text("secret");
        let mut key = stored(generate(&secret).unwrap(), State::Active);
        let private = open(&secret, &key).unwrap();
        let private: [u8; 32] = private.as_slice().try_into().unwrap();
        let public = SigningKey::from_bytes(&private).verifying_key();
        assert_eq!(public.to_bytes(), key.public);
        let other = ServerSecret::from_text("other");
        assert_eq!(open(&other, &key).err(), Some(Unusable::OtherSecret));
        key.kid.push('x');
        assert_eq!(open(&secret, &key).err(), Some(Unusable::OtherSecret));
    }

    #[test]
    fn every_key_is_published_and_one_signs() {
        let secret = ServerSecret::from_text("secret");
        let make = |state| stored(generate(&secret).unwrap(), state);
        let keys = [State::Retired, State::Active, State::Next].map(make);
        let set = KeySet::new(&keys, &secret).unwrap();
        assert_eq!(set.active().kid, keys[1].kid);
        let public = set.public();
        assert!(keys.iter().all(|key| public.get(&key.kid).is_some()));
        assert!(public.get("other").is_none());
        let none = KeySet::new(&keys[..1], &secret);
        assert_eq!(none.err(), Some(Unusable::NoActive));
    }

    #[test]
    fn names_are_thumbprints() {
        // The example of RFC 8037, appendix A.3.
        let public = URL_SAFE_NO_PAD
            .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
            .unwrap();
        assert_eq!(
            thumbprint(&public.try_into().unwrap()),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }
}
