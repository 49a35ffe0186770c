//! Access tokens: signed JWTs that any process can check without asking.
//!
//! Parsing, signature and the comparison of issuer and audience are the library's, on a provider
//! that knows Ed25519 alone. What it is lax about is checked here, before it and after it.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use banter_protocol::id::{SessionId, UserId, exact_integer};
use banter_protocol::limit;
use banter_protocol::session::Identity;
use banter_protocol::text::Username;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::de::{self, DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::jwks::PublicKeys;
use super::keys::KeySet;

mod provider;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

/// Whom the tokens are for.
const AUDIENCE: &str = "banter";
/// What they are (RFC 9068), so that no other JWT under the same key is taken for one.
const TYPE: &str = "at+jwt";

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is none of ours, or was tampered with. More is not told.
    Invalid,
    /// It names a key that is not known, which may be a new one.
    UnknownKey,
    /// It was good until a while ago.
    Expired,
}

/// The header, with nothing in it that could send us elsewhere for a key or mean more than this.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    name: String,
    sid: SessionId,
    jti: Uuid,
    #[serde(deserialize_with = "exact_integer")]
    iat: u64,
    #[serde(deserialize_with = "exact_integer")]
    exp: u64,
    /// Not in tokens of ours; where another has it, it holds (RFC 7519, section 4.1.5).
    #[serde(
        default,
        deserialize_with = "exact_integer",
        skip_serializing_if = "is_zero"
    )]
    nbf: u64,
}

/// Signs and checks tokens of one issuer.
#[derive(Debug)]
pub struct Tokens {
    issuer: String,
    /// Whole seconds that a token lives.
    ttl_seconds: u64,
    validation: Validation,
}

impl Tokens {
    /// Tokens of the server at this URL, each good for `ttl`.
    #[must_use]
    pub fn new(issuer: &str, ttl: Duration) -> Self {
        provider::install();
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The library asks the system's clock; we take the time as an argument.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[AUDIENCE]);
        Self {
            issuer: issuer.to_owned(),
            ttl_seconds: ttl
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u64::MAX),
            validation,
        }
    }

    /// How long a token is good.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }

    /// Signs a token.
    ///
    /// # Errors
    /// Only if the key is not one of Ed25519.
    pub fn sign(
        &self,
        keys: &KeySet,
        user: UserId,
        username: &Username,
        session: SessionId,
        now_ms: i64,
    ) -> jsonwebtoken::errors::Result<String> {
        let iat = seconds(now_ms);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            name: username.as_str().to_owned(),
            sid: session,
            jti: Uuid::now_v7(),
            iat,
            exp: iat.saturating_add(self.ttl_seconds),
            nbf: 0,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(keys.active().kid.clone());
        jsonwebtoken::encode(&header, &claims, &keys.active().signing)
    }

    /// Checks a token: some 60 microseconds, nearly all of them for the signature.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, keys: &PublicKeys, token: &str, now_ms: i64) -> Result<Identity, Refused> {
        if token.len() > limit::TOKEN_BYTES_MAX {
            return Err(Refused::Invalid);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Invalid);
        };
        let header: StrictHeader = decode(header)?;
        if header.alg != "EdDSA" || header.typ != TYPE {
            return Err(Refused::Invalid);
        }
        let key = keys.get(&header.kid).ok_or(Refused::UnknownKey)?;
        let claims_text = claims;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| Refused::Invalid)?
            .claims;
        decode::<DistinctKeys>(claims_text)?;
        self.identity(claims, now_ms)
    }

    fn identity(&self, claims: Claims, now_ms: i64) -> Result<Identity, Refused> {
        let latest = seconds(now_ms).saturating_add(limit::TOKEN_AHEAD_MAX.as_secs());
        if claims.iat.max(claims.nbf) > latest || claims.exp <= claims.iat {
            return Err(Refused::Invalid);
        }
        // One from before the operator shortened tokens' lives lives as short: what is revoked is
        // remembered no longer than that.
        let exp = claims.exp.min(claims.iat.saturating_add(self.ttl_seconds));
        let expires_ms = i64::try_from(exp.saturating_mul(1000)).unwrap_or(i64::MAX);
        if now_ms >= expires_ms {
            return Err(Refused::Expired);
        }
        Ok(Identity {
            user: claims.sub,
            username: Username::parse(&claims.name).map_err(|_| Refused::Invalid)?,
            session: claims.sid,
            expires_ms,
        })
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, Refused> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Invalid)?;
    // From text: the reader of bytes passes over what it ignores without asking for UTF-8.
    let json = String::from_utf8(json).map_err(|_| Refused::Invalid)?;
    serde_json::from_str(&json).map_err(|_| Refused::Invalid)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms.div_euclid(1000)).unwrap_or(0)
}

/// An object that names nothing twice: which of the two is meant, readers disagree.
struct DistinctKeys;

impl<'de> Deserialize<'de> for DistinctKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DistinctKeysVisitor)
    }
}

struct DistinctKeysVisitor;

impl<'de> Visitor<'de> for DistinctKeysVisitor {
    type Value = DistinctKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without repeated names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DistinctKeys, A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
            if !seen.insert(key) {
                return Err(de::Error::custom("a name is repeated"));
            }
        }
        Ok(DistinctKeys)
    }
}
