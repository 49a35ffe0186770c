//! The public keys: what checks tokens, and how they are published.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};

/// A key of the published set (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Jwk {
    /// Always `OKP`.
    kty: String,
    /// Always `Ed25519`.
    crv: String,
    /// Always `EdDSA`.
    alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    usage: String,
    /// The name that tokens give.
    kid: String,
    /// The public key, in base64url.
    x: String,
}

/// The published set (RFC 7517).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Jwks {
    /// The next key, the active one, and retired ones whose tokens are still about.
    keys: Vec<Jwk>,
}

/// Public keys by their names, made ready.
#[derive(Clone, Default)]
pub struct PublicKeys {
    verifying: HashMap<String, DecodingKey>,
    jwks: Jwks,
}

impl PublicKeys {
    /// The public key of that name.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifying.get(kid)
    }

    /// The published set.
    #[must_use]
    pub const fn jwks(&self) -> &Jwks {
        &self.jwks
    }
}

impl FromIterator<(String, [u8; 32])> for PublicKeys {
    fn from_iter<T: IntoIterator<Item = (String, [u8; 32])>>(keys: T) -> Self {
        let mut set = Self::default();
        for (kid, public) in keys {
            let key = DecodingKey::from_ed_der(&public);
            set.verifying.insert(kid.clone(), key);
            set.jwks.keys.push(Jwk {
                kty: "OKP".to_owned(),
                crv: "Ed25519".to_owned(),
                alg: "EdDSA".to_owned(),
                usage: "sig".to_owned(),
                kid,
                x: URL_SAFE_NO_PAD.encode(public),
            });
        }
        set
    }
}

impl From<&Jwks> for PublicKeys {
    /// Those of a published set that are ours; a newer version may publish others too.
    fn from(jwks: &Jwks) -> Self {
        let public = |key: &Jwk| -> Option<(String, [u8; 32])> {
            let ours = key.kty == "OKP" && key.crv == "Ed25519" && key.alg == "EdDSA";
            let bytes = ours.then(|| URL_SAFE_NO_PAD.decode(&key.x).ok())??;
            Some((key.kid.clone(), bytes.try_into().ok()?))
        };
        jwks.keys.iter().filter_map(public).collect()
    }
}

/// A set as it is handed to gateways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition {
    /// Number of the revocation that announced this set; 0 for the first one.
    pub revision: i64,
    /// The set.
    #[serde(flatten)]
    pub jwks: Jwks,
}

impl Edition {
    /// Reads what [`Edition::to_text`] wrote, here or in another version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// A JWK set with one member more, which other readers pass over.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Texts and a number cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_is_read_as_it_was_written() {
        let keys: PublicKeys = [("a".to_owned(), [1; 32]), ("b".to_owned(), [2; 32])]
            .into_iter()
            .collect();
        let edition = Edition {
            revision: 7,
            jwks: keys.jwks().clone(),
        };
        let text = edition.to_text();
        assert!(
            text.starts_with(r#"{"revision":7,"keys":[{"kty":"OKP""#),
            "{text}"
        );
        assert_eq!(Edition::parse(&text), Some(edition.clone()));
        let read = PublicKeys::from(&edition.jwks);
        assert_eq!(read.jwks(), keys.jwks());
        assert!(read.get("a").is_some() && read.get("c").is_none());
        assert_eq!(Edition::parse("{}"), None);
    }

    #[test]
    fn keys_of_another_kind_are_passed_over() {
        let text = r#"{"keys":[
            {"kty":"RSA","crv":"","alg":"RS256","use":"sig","kid":"r","x":""},
            {"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"short","x":"AAAA"}]}"#;
        let jwks: Jwks = serde_json::from_str(text).unwrap();
        let keys = PublicKeys::from(&jwks);
        assert!(keys.get("r").is_none() && keys.get("short").is_none());
    }
}
