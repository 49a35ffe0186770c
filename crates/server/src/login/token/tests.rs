//! What is not a token of ours.

use banter_protocol::time::Timestamp;
use banter_storage::keys::{Key, State};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::login::keys;
use crate::login::secret::ServerSecret;

const NOW_MS: i64 = 1_800_000_000_500;
const NOW: i64 = NOW_MS / 1000;
const ISSUER: &str = "https://chat.example.org";
const USER: &str = "0190163d-8694-739b-aea5-966c26f8ad90";
const SESSION: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

/// A key whose private part the test knows, with which it signs anything.
struct Forge {
    signing: SigningKey,
    kid: String,
    keys: KeySet,
    tokens: Tokens,
}

impl Forge {
    fn new() -> Self {
        let secret = ServerSecret::from_text("secret");
        let made = keys::generate(&secret).unwrap();
        let row = Key {
            kid: made.kid.clone(),
            state: State::Active,
            public: made.public,
            sealed: made.sealed,
            created_at: Timestamp::from_ms(0),
            since: Timestamp::from_ms(0),
        };
        let private = keys::open(&secret, &row).unwrap();
        Self {
            signing: SigningKey::from_bytes(private.as_slice().try_into().unwrap()),
            kid: made.kid,
            keys: KeySet::new(&[row], &secret).unwrap(),
            tokens: Tokens::new(ISSUER, Duration::from_secs(600)),
        }
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid})
    }

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "aud": "banter", "sub": USER, "name": "ann", "sid": SESSION,
            "jti": SESSION, "iat": NOW, "exp": NOW + 600
        })
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        let signature = self.signing.sign(message.as_bytes()).to_bytes();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(&self, token: &str) -> Result<Identity, Refused> {
        self.tokens.verify(self.keys.public(), token, NOW_MS)
    }

    fn with_header(&self, name: &str, value: Value) -> Result<Identity, Refused> {
        let mut header = self.header();
        header[name] = value;
        self.verify(&self.sign(&header.to_string(), &Self::claims().to_string()))
    }

    fn with_claim(&self, name: &str, value: Value) -> Result<Identity, Refused> {
        let mut claims = Self::claims();
        claims[name] = value;
        self.verify(&self.sign(&self.header().to_string(), &claims.to_string()))
    }
}

fn message(header: &str, claims: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text.as_bytes());
    format!("{}.{}", encode(header), encode(claims))
}

#[test]
fn what_we_sign_we_accept() {
    let forge = Forge::new();
    let identity = Identity {
        user: USER.parse().unwrap(),
        username: Username::parse("ann").unwrap(),
        session: SESSION.parse().unwrap(),
        expires_ms: (NOW + 600) * 1000,
    };
    let (user, session) = (identity.user, identity.session);
    let signed = forge
        .tokens
        .sign(&forge.keys, user, &identity.username, session, NOW_MS)
        .unwrap();
    assert!(signed.len() < 700, "{}", signed.len());
    assert_eq!(forge.verify(&signed), Ok(identity.clone()));
    let forged = forge.sign(&forge.header().to_string(), &Forge::claims().to_string());
    assert_eq!(forge.verify(&forged), Ok(identity));
}

#[test]
fn times_are_exact() {
    let forge = Forge::new();
    let at = |now_ms| {
        let token = forge.sign(&forge.header().to_string(), &Forge::claims().to_string());
        forge.tokens.verify(forge.keys.public(), &token, now_ms)
    };
    assert!(at((NOW + 600) * 1000 - 1).is_ok());
    assert_eq!(at((NOW + 600) * 1000), Err(Refused::Expired));
    assert!(at((NOW - 5) * 1000).is_ok());
    assert_eq!(at((NOW - 5) * 1000 - 1), Err(Refused::Invalid));
    // Neither another life nor one that ends before it begins.
    let long = forge.with_claim("exp", json!(NOW + 86_400)).unwrap();
    assert_eq!(long.expires_ms, (NOW + 600) * 1000);
    assert_eq!(
        forge.with_claim("iat", json!(NOW - 601)),
        Err(Refused::Expired)
    );
    assert_eq!(
        forge.with_claim("exp", json!(NOW - 1)),
        Err(Refused::Invalid)
    );
}

#[test]
fn other_algorithms_are_refused() {
    let forge = Forge::new();
    for alg in [
        "none", "None", "HS256", "RS256", "ES256", "eddsa", "Ed25519", "",
    ] {
        assert_eq!(forge.with_header("alg", json!(alg)), Err(Refused::Invalid));
    }
    let none = json!({"alg": "none", "typ": "at+jwt", "kid": forge.kid}).to_string();
    let unsigned = message(&none, &Forge::claims().to_string());
    assert_eq!(forge.verify(&format!("{unsigned}.")), Err(Refused::Invalid));
    assert_eq!(forge.verify(&unsigned), Err(Refused::Invalid));

    let hs256 = json!({"alg": "HS256", "typ": "at+jwt", "kid": forge.kid}).to_string();
    let message = message(&hs256, &Forge::claims().to_string());
    let public = forge.signing.verifying_key().to_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
    mac.update(message.as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    assert_eq!(
        forge.verify(&format!("{message}.{tag}")),
        Err(Refused::Invalid)
    );
}

#[test]
fn other_keys_are_refused() {
    let forge = Forge::new();
    let other = Forge::new();
    let claims = Forge::claims().to_string();
    let unknown = other.sign(&other.header().to_string(), &claims);
    assert_eq!(forge.verify(&unknown), Err(Refused::UnknownKey));
    let renamed = other.sign(&forge.header().to_string(), &claims);
    assert_eq!(forge.verify(&renamed), Err(Refused::Invalid));
    let nameless = json!({"alg": "EdDSA", "typ": "at+jwt"}).to_string();
    assert_eq!(
        forge.verify(&forge.sign(&nameless, &claims)),
        Err(Refused::Invalid)
    );
}

#[test]
fn headers_say_no_more_than_they_must() {
    let forge = Forge::new();
    for typ in ["JWT", "jwt", "AT+JWT", "application/at+jwt", "", "refresh"] {
        assert_eq!(forge.with_header("typ", json!(typ)), Err(Refused::Invalid));
    }
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", json!({"kty": "OKP"})),
        ("x5c", json!(["AAAA"])),
        ("b64", json!(false)),
        ("kid", json!(null)),
        ("kid", json!(7)),
    ] {
        assert_eq!(
            forge.with_header(name, value),
            Err(Refused::Invalid),
            "{name}"
        );
    }
}

#[test]
fn claims_are_those_of_this_server() {
    let forge = Forge::new();
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("iss", json!([ISSUER, "https://evil.example"])),
        ("aud", json!("other")),
        ("aud", json!(["banter", "other"])),
        ("sub", json!("ann")),
        ("sub", json!(null)),
        ("sid", json!(SESSION.to_uppercase())),
        ("name", json!("not a name")),
        ("iat", json!(NOW + 6)),
        ("nbf", json!(NOW + 6)),
        ("iat", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!("never")),
        ("exp", json!(1_800_000_600.5)),
    ] {
        let refused = forge.with_claim(name, value.clone());
        assert_eq!(refused, Err(Refused::Invalid), "{name} {value}");
    }
    for name in ["iss", "aud", "sub", "name", "sid", "jti", "iat", "exp"] {
        let mut claims = Forge::claims();
        claims.as_object_mut().unwrap().remove(name);
        let token = forge.sign(&forge.header().to_string(), &claims.to_string());
        assert_eq!(forge.verify(&token), Err(Refused::Invalid), "{name}");
    }
    assert!(forge.with_claim("something", json!("new")).is_ok());
}

#[test]
fn names_are_not_repeated() {
    let forge = Forge::new();
    let (header, claims) = (forge.header().to_string(), Forge::claims().to_string());
    let twice = |object: &str, member: &str| object.replacen('{', &format!("{{{member},"), 1);
    for member in [
        r#""sub":"0190163d-8694-739b-aea5-966c26f8ad99""#,
        r#""exp":1"#,
    ] {
        let token = forge.sign(&header, &twice(&claims, member));
        assert_eq!(forge.verify(&token), Err(Refused::Invalid), "{member}");
    }
    let unknown = twice(&twice(&claims, r#""a":1"#), r#""a":2"#);
    assert_eq!(
        forge.verify(&forge.sign(&header, &unknown)),
        Err(Refused::Invalid)
    );
    let algorithms = twice(&header, r#""alg":"EdDSA""#);
    assert_eq!(
        forge.verify(&forge.sign(&algorithms, &claims)),
        Err(Refused::Invalid)
    );
}

#[test]
fn forms_have_one_spelling_and_a_bounded_length() {
    let forge = Forge::new();
    let good = forge.sign(&forge.header().to_string(), &Forge::claims().to_string());
    assert!(forge.verify(&good).is_ok());
    let (message, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}."),
        format!("{good}="),
        format!(" {good}"),
        format!("{message}.{}", &signature[1..]),
        format!("{message}.{}", "A".repeat(86)),
        message.to_owned(),
    ] {
        assert_eq!(forge.verify(&bad), Err(Refused::Invalid), "{bad:?}");
    }
    // The last character of 64 bytes carries four bits that mean nothing.
    let last = signature.chars().next_back().unwrap();
    for other in ('A'..='Z').filter(|other| *other != last) {
        let bent = format!("{}{other}", &good[..good.len() - 1]);
        assert_eq!(forge.verify(&bent), Err(Refused::Invalid));
    }
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let again = URL_SAFE_NO_PAD.encode(plus_order(bytes));
    assert_eq!(
        forge.verify(&format!("{message}.{again}")),
        Err(Refused::Invalid)
    );
    for size in [limit::TOKEN_BYTES_MAX, 10 * 1024] {
        let padding = forge.with_claim("padding", json!("x".repeat(size)));
        assert_eq!(padding, Err(Refused::Invalid));
    }
}

/// The signature whose second half is the same number modulo the order of the group.
fn plus_order(mut signature: Vec<u8>) -> Vec<u8> {
    // 2^252 + 27742317777372353535851937790883648493, the lowest byte first: RFC 8032, section 5.1.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        let [low, high] = sum.to_le_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
    signature
}
