//! What the token library computes signatures with: Ed25519, and nothing else.

use std::cell::Cell;

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes it the process's provider. Doing it again changes nothing.
pub(super) fn install() {
    // An error means that it is installed already: nobody else installs one.
    let _ = PROVIDER.install_default();
}

struct Ed25519Signer(SigningKey);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(VerifyingKey);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let signature = Signature::from_slice(signature).map_err(|_| signature::Error::new())?;
        // A signature has one spelling: its second half is a reduced number, and its first is held
        // against what must be there byte by byte. Keys of small order do not get here.
        self.0
            .verify(message, &signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let private = bytes(*algorithm, key.family(), key.as_bytes())?;
    Ok(Box::new(Ed25519Signer(SigningKey::from_bytes(private))))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let public = bytes(*algorithm, key.family(), key.try_get_as_bytes()?)?;
    Ok(Box::new(Ed25519Verifier(unpacked(public)?)))
}

thread_local! {
    /// The key that was needed last: nearly always the one that is needed next, and unpacking one
    /// takes a tenth of a verification.
    static LAST: Cell<Option<VerifyingKey>> = const { Cell::new(None) };
}

fn unpacked(public: &[u8; 32]) -> Result<VerifyingKey, ErrorKind> {
    if let Some(last) = LAST.get().filter(|last| last.as_bytes() == public) {
        return Ok(last);
    }
    let key = VerifyingKey::from_bytes(public).map_err(|_| ErrorKind::InvalidEddsaKey)?;
    // Such a key signs everything.
    if key.is_weak() {
        return Err(ErrorKind::InvalidEddsaKey);
    }
    LAST.set(Some(key));
    Ok(key)
}

fn bytes(
    algorithm: Algorithm,
    family: AlgorithmFamily,
    key: &[u8],
) -> Result<&[u8; 32], ErrorKind> {
    if algorithm != Algorithm::EdDSA || family != AlgorithmFamily::Ed {
        return Err(ErrorKind::InvalidAlgorithm);
    }
    key.try_into().map_err(|_| ErrorKind::InvalidEddsaKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_small_order_is_none() {
        // The neutral point: its signatures hold for any message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(unpacked(&neutral), Err(ErrorKind::InvalidEddsaKey));
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        for _ in 0..2 {
            assert_eq!(unpacked(key.as_bytes()), Ok(key));
        }
    }
}
