//! What must hold for any token. The fuzzer and the ordinary tests call it.

use std::sync::LazyLock;
use std::time::Duration;

use banter_protocol::time::Timestamp;
use banter_storage::keys::{Key, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;

use super::login::keys::{KeySet, generate};
use super::login::secret::ServerSecret;
use super::login::token::{Refused, Tokens};

const NOW_MS: i64 = 1_800_000_000_500;
const ISSUER: &str = "https://chat.example.org";
const KEY_ID: &str = "known";

/// A server that knows one more key: a retired one, whose private part is known here.
struct Server {
    keys: KeySet,
    tokens: Tokens,
    known: SigningKey,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let secret = ServerSecret::from_text("secret");
    let made = generate(&secret).expect("randomness");
    let known = SigningKey::from_bytes(&[7; 32]);
    let key = |kid: &str, state, public, sealed| Key {
        kid: kid.to_owned(),
        state,
        public,
        sealed,
        created_at: Timestamp::from_ms(0),
        since: Timestamp::from_ms(0),
    };
    let active = key(&made.kid, State::Active, made.public, made.sealed);
    let public = known.verifying_key().to_bytes();
    let retired = key(KEY_ID, State::Retired, public, Vec::new());
    Server {
        keys: KeySet::new(&[active, retired], &secret).expect("an active key"),
        tokens: Tokens::new(ISSUER, Duration::from_secs(600)),
        known,
    }
});

/// The first line is a header, the rest are claims: they are signed properly. The whole is also
/// tried as it is. Tells whether the signed one was accepted.
pub(crate) fn check(data: &[u8]) -> bool {
    if let Ok(text) = std::str::from_utf8(data) {
        let refused = SERVER.tokens.verify(SERVER.keys.public(), text, NOW_MS);
        assert!(refused.is_err(), "nobody signed it");
    }
    let Some(at) = data.iter().position(|&b| b == b'\n') else {
        return false;
    };
    let (header, claims) = (&data[..at], &data[at + 1..]);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = SERVER.known.sign(signed.as_bytes()).to_bytes();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let Ok(identity) = SERVER.tokens.verify(SERVER.keys.public(), &token, NOW_MS) else {
        return false;
    };
    let header: Value = serde_json::from_slice(header).expect("an accepted header is JSON");
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["kid"], KEY_ID);
    assert_eq!(header.as_object().map(serde_json::Map::len), Some(3));
    let claims = std::str::from_utf8(claims).expect("accepted claims are UTF-8");
    // What is ignored may hold numbers and depths that this reader cannot.
    let Ok(claims) = serde_json::from_str::<Value>(claims) else {
        return true;
    };
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], "banter");
    assert_eq!(claims["sub"], identity.user.to_string());
    assert_eq!(claims["sid"], identity.session.to_string());
    let name = claims["name"].as_str().map(str::to_ascii_lowercase);
    assert_eq!(name.as_deref(), Some(identity.username.as_str()));
    let ends = claims["exp"]
        .as_u64()
        .expect("an accepted time is an integer");
    assert!(
        identity.expires_ms > NOW_MS && i128::from(identity.expires_ms) <= i128::from(ends) * 1000
    );
    // Any change breaks the signature.
    for tampered in [
        format!("{token}A"),
        format!("A{token}"),
        format!("{signed}."),
    ] {
        let refused = SERVER
            .tokens
            .verify(SERVER.keys.public(), &tampered, NOW_MS);
        assert_eq!(refused.err(), Some(Refused::Invalid));
    }
    true
}
