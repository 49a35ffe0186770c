//! Forged access tokens: whatever is wrong with one, the answer is the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::fixture::{Fixture, Kind, for_every_kind, for_one_process};
use crate::support::http::{Answer, Connection, Request};
use crate::support::person::Person;
use crate::support::socket::Socket;

for_every_kind!(
    forged_tokens_are_refused_alike,
    an_expired_token_says_so,
    a_token_of_another_server_is_refused,
    keys_can_be_rotated_beside_the_server,
);
for_one_process!(
    a_token_goes_into_one_bearer_header: "NGINX refuses a header that is there twice",
    a_token_with_the_issuer_of_yesterday_is_refused: "it starts one directory of data twice",
);

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn part(token: &str, index: usize) -> Vec<u8> {
    let part = token.split('.').nth(index).expect("three parts");
    URL_SAFE_NO_PAD.decode(part).expect("base64url")
}

/// Head and claims of a token.
pub(crate) fn decode(token: &str) -> (Value, Value) {
    let json = |index| serde_json::from_slice(&part(token, index)).expect("JSON");
    (json(0), json(1))
}

/// Puts a token together, signed by `sign`.
fn signed(head: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", base64(head), base64(claims));
    let signature = sign(input.as_bytes());
    format!("{input}.{}", base64(signature))
}

/// Makes tokens that are almost the genuine one.
struct Forger {
    genuine: String,
    head: Value,
    claims: Value,
    signature: Vec<u8>,
    own: SigningKey,
}

/// What is wrong with a token, and the token.
type Forged = (String, String);

impl Forger {
    fn new(genuine: &str) -> Self {
        let (head, claims) = decode(genuine);
        Self {
            genuine: genuine.to_owned(),
            head,
            claims,
            signature: part(genuine, 2),
            own: SigningKey::from_bytes(&[7; 32]),
        }
    }

    fn head_with(&self, name: &str, value: Value) -> String {
        let mut head = self.head.clone();
        head[name] = value;
        head.to_string()
    }

    fn claims_with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        claims.to_string()
    }

    /// With the genuine signature, which does not fit any more.
    fn keep_signature(&self, head: &str, claims: &str) -> String {
        signed(head, claims, |_| self.signature.clone())
    }

    /// Signed, but with a key that is not the server's.
    fn sign(&self, head: &str) -> String {
        let sign = |input: &[u8]| self.own.sign(input).to_bytes().to_vec();
        signed(head, &self.claims.to_string(), sign)
    }

    fn other_algorithms(&self, jwks: &Value) -> Vec<Forged> {
        let claims = self.claims.to_string();
        let mut all = Vec::new();
        for alg in ["none", "None", "NONE", ""] {
            let head = self.head_with("alg", alg.into());
            let bare = signed(&head, &claims, |_| Vec::new());
            all.push((format!("alg {alg}"), bare));
            all.push((
                format!("alg {alg}, signed"),
                self.keep_signature(&head, &claims),
            ));
        }
        let mut keys = jwks["keys"].as_array().unwrap().iter();
        let key = keys.find(|key| key["kid"] == self.head["kid"]).unwrap();
        let text = key["x"].as_str().unwrap();
        let public = URL_SAFE_NO_PAD.decode(text).unwrap();
        let head = self.head_with("alg", "HS256".into());
        for secret in [&public[..], text.as_bytes(), key.to_string().as_bytes()] {
            let forged = signed(&head, &claims, |input| {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
                mac.update(input);
                mac.finalize().into_bytes().to_vec()
            });
            all.push(("HS256 with the public key".to_owned(), forged));
        }
        all
    }

    fn other_keys(&self) -> Vec<Forged> {
        let x = base64(self.own.verifying_key());
        let own = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        [
            ("another key", self.head.to_string()),
            (
                "another key, unknown",
                self.head_with("kid", "unknown".into()),
            ),
            ("another key, brought along", self.head_with("jwk", own)),
        ]
        .map(|(what, head)| (what.to_owned(), self.sign(&head)))
        .to_vec()
    }

    fn other_words(&self) -> Vec<Forged> {
        let (head, claims) = (self.head.to_string(), self.claims.to_string());
        let far = 4_102_444_800_u64;
        let heads = [
            ("typ", json!("JWT")),
            ("typ", json!("")),
            ("crit", json!(["exp"])),
            ("kid", json!(1)),
            ("alg", json!("RS256")),
            ("jku", json!("http://evil.example/")),
        ];
        let other_claims = [
            ("aud", json!("other")),
            ("iss", json!("http://evil.example")),
            ("sub", json!("01931a2d-1b58-7d10-9c2f-6f1f0a8b7c3d")),
            ("exp", json!(far)),
            ("iat", json!(far)),
            ("nbf", json!(far)),
            ("10 KB", json!("a".repeat(7_000))),
        ];
        let twice = claims.replacen('{', "{\"sub\":\"01931a2d-1b58-7d10-9c2f-6f1f0a8b7c3d\",", 1);
        let mut all = vec![(
            "a claim twice".to_owned(),
            self.keep_signature(&head, &twice),
        )];
        for (name, value) in heads {
            let forged = self.keep_signature(&self.head_with(name, value), &claims);
            all.push((name.to_owned(), forged));
        }
        for (name, value) in other_claims {
            let forged = self.keep_signature(&head, &self.claims_with(name, value));
            all.push((name.to_owned(), forged));
        }
        all
    }

    fn other_shapes(&self) -> Vec<Forged> {
        let genuine = &self.genuine;
        [
            ("empty", String::new()),
            ("two parts", genuine.rsplit_once('.').unwrap().0.to_owned()),
            ("four parts", format!("{genuine}.AAAA")),
            ("padded", format!("{genuine}=")),
            ("one letter more", format!("{genuine}A")),
            ("upper case", genuine.to_uppercase()),
            ("no base64", genuine.replace('.', ".!")),
            ("dots", "..".to_owned()),
        ]
        .map(|(what, token)| (what.to_owned(), token))
        .to_vec()
    }
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text())
}

fn forged_tokens_are_refused_alike(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let jwks = chat.call(&Request::get("/.well-known/jwks.json")).ok(200);
    let with = |value: &str| chat.call(&Request::get("/v1/me").header("Authorization", value));
    let plain = with("Bearer x");
    plain.refused(401, "token_invalid");
    let forger = Forger::new(&ann.token);
    let mut all = forger.other_algorithms(&jwks);
    all.extend(forger.other_keys());
    all.extend(forger.other_words());
    all.extend(forger.other_shapes());
    for (what, token) in all {
        let answer = with(&format!("Bearer {token}"));
        assert_eq!(told(&answer), told(&plain), "{what}");
        let mut socket = Socket::open(chat.address(), chat.site().contract);
        socket.hello(&token, &Value::Null);
        let ended = socket.ended();
        assert_eq!(
            (ended.code, ended.error()),
            (4503, Some("token_invalid")),
            "{what}"
        );
    }
    ann.call(Request::get("/v1/me")).ok(200);
}

fn a_token_goes_into_one_bearer_header(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let me = |headers: &[String]| {
        let mut request = Request::get("/v1/me");
        for header in headers {
            request = request.header("Authorization", header);
        }
        chat.call(&request)
    };
    me(&[]).refused(401, "token_missing");
    let good = format!("Bearer {}", ann.token);
    for bad in [
        vec![ann.token.clone()],
        vec![format!("Basic {}", ann.token)],
        vec!["Bearer".to_owned()],
        vec![String::new()],
        vec![format!("{good} {}", ann.token)],
        vec![format!("{good},{good}")],
        vec![good.clone(), good.clone()],
        vec!["Bearer x".to_owned(), good.clone()],
        vec!["Bearer \u{e9}".to_owned()],
    ] {
        me(&bad).refused(401, "token_invalid");
    }
    // A scheme's name has no case.
    me(&[format!("bearer {}", ann.token)]).ok(200);
    // Nowhere else.
    let in_query = format!("/v1/me?access_token={}", ann.token);
    chat.call(&Request::get(in_query))
        .refused(401, "token_missing");
}

fn an_expired_token_says_so(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("auth.access_token_ttl", "1s")
        .start();
    let mut ann = chat.register("ann");
    let old = ann.clone();
    let (mut status, since) = (200, std::time::Instant::now());
    while status == 200 {
        assert!(since.elapsed() < std::time::Duration::from_secs(20));
        std::thread::sleep(std::time::Duration::from_millis(50));
        status = old.call(Request::get("/v1/me")).status;
    }
    old.call(Request::get("/v1/me"))
        .refused(401, "token_expired");
    let mut socket = Socket::open(chat.address(), chat.site().contract);
    socket.hello(&old.token, &Value::Null);
    socket.ended().with(4401, Some("token_expired"));
    ann.refresh().ok(200);
    ann.call(Request::get("/v1/me")).ok(200);
    let (mut expired, (head, claims)) = (old.token.clone(), decode(&old.token));
    // Only a genuine one is told that it has expired.
    expired.truncate(expired.rfind('.').unwrap());
    let forged = signed(&head.to_string(), &claims.to_string(), |_| vec![0; 64]);
    for token in [expired, forged] {
        let request = Request::get("/v1/me").bearer(&token);
        chat.call(&request).refused(401, "token_invalid");
    }
}

fn a_token_of_another_server_is_refused(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let elsewhere = Fixture::of(kind);
    elsewhere.register("ann");
    let stranger = Person {
        site: elsewhere.site(),
        ..ann.clone()
    };
    stranger
        .call(Request::get("/v1/me"))
        .refused(401, "token_invalid");
    let ended = {
        let mut socket = Socket::open(elsewhere.address(), elsewhere.site().contract);
        socket.hello(&ann.token, &Value::Null);
        socket.ended()
    };
    ended.with(4503, Some("token_invalid"));
}

/// A gateway is given a key of the test's own, so that only the words of a token can be wrong.
#[test]
fn rightly_signed_tokens_with_wrong_words_are_refused() {
    if !crate::cluster::installed() {
        return;
    }
    let mut chat = Fixture::of(Kind::Cluster);
    let ann = chat.register("ann");
    let forger = Forger::new(&ann.token);
    let x = base64(forger.own.verifying_key());
    chat.publish_key(&json!({
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "own", "x": x,
    }));
    // Whoever owns the keys would put them right again.
    chat.end("auth", Signal::KILL);
    chat.end("gateway", Signal::TERM);
    chat.spawn("gateway");
    chat.ready("gateway");
    let gateway = chat.addresses("gateway")[0];
    let head = forger.head_with("kid", json!("own"));
    let sign = |head: &str, claims: &str| {
        let sign = |input: &[u8]| forger.own.sign(input).to_bytes().to_vec();
        signed(head, claims, sign)
    };
    let status = |token: &str| {
        let request = Request::get("/v1/me").bearer(token);
        Connection::open(gateway).call(&request)
    };
    let claims = forger.claims.to_string();
    assert_eq!(status(&sign(&head, &claims)).status, 200, "the key counts");
    let wrong = rightly_signed(&forger, &head, sign);
    for (what, token) in wrong {
        let answer = status(&token);
        assert_eq!(answer.status, 401, "{what}");
        let expected = match what.as_str() {
            "expired" => "token_expired",
            _ => "token_invalid",
        };
        assert_eq!(answer.json()["code"], expected, "{what}");
        let mut socket = Socket::open(gateway, chat.site().contract);
        socket.hello(&token, &Value::Null);
        assert_eq!(socket.ended().error(), Some(expected), "{what}");
    }
}

fn rightly_signed(forger: &Forger, head: &str, sign: impl Fn(&str, &str) -> String) -> Vec<Forged> {
    let claims = forger.claims.to_string();
    let now = forger.claims["iat"].as_u64().expect("a time");
    let mut wrong = vec![("expired".to_owned(), {
        let mut claims = forger.claims.clone();
        (claims["iat"], claims["exp"]) = (json!(now - 7_200), json!(now - 3_600));
        sign(head, &claims.to_string())
    })];
    for (name, value) in [
        ("aud", json!("other")),
        ("aud", json!(["banter", 1])),
        ("iss", json!("http://evil.example")),
        ("sub", json!("nobody")),
        ("sid", json!(7)),
        ("iat", json!(now + 3_600)),
        ("nbf", json!(now + 3_600)),
        ("exp", json!("tomorrow")),
        ("exp", json!(1e300)),
    ] {
        let claims = forger.claims_with(name, value.clone());
        wrong.push((format!("{name} {value}"), sign(head, &claims)));
    }
    for name in ["aud", "iss", "sub", "sid", "iat", "exp"] {
        let mut claims = forger.claims.clone();
        claims.as_object_mut().expect("an object").remove(name);
        wrong.push((format!("no {name}"), sign(head, &claims.to_string())));
    }
    for typ in ["JWT", "", "AT+JWT "] {
        let mut head: Value = serde_json::from_str(head).expect("JSON");
        head["typ"] = json!(typ);
        wrong.push((format!("typ {typ}"), sign(&head.to_string(), &claims)));
    }
    let sub = forger.claims["sub"].to_string();
    let twice = claims.replacen('{', &format!("{{\"sub\":{sub},"), 1);
    wrong.push(("sub twice".to_owned(), sign(head, &twice)));
    wrong
}

/// Signed with the very keys of the server, and for another name of it.
fn a_token_with_the_issuer_of_yesterday_is_refused(kind: Kind) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let called = |url: &str| {
        let setup = Fixture::setup(kind).data_dir(&dir.path().join("data"));
        setup.set("server.public_url", url).start()
    };
    let mut yesterday = called("https://old.example");
    let ann = yesterday.register("ann");
    let issuer = |token: &str| decode(token).1["iss"].clone();
    assert_eq!(issuer(&ann.token), "https://old.example");
    yesterday.stop();
    let today = called("https://new.example");
    let mut ann = Person {
        site: today.site(),
        ..ann
    };
    ann.call(Request::get("/v1/me"))
        .refused(401, "token_invalid");
    let mut socket = Socket::open(today.address(), today.site().contract);
    socket.hello(&ann.token, &Value::Null);
    socket.ended().with(4503, Some("token_invalid"));
    // The session goes on.
    ann.refresh().ok(200);
    assert_eq!(issuer(&ann.token), "https://new.example");
    ann.call(Request::get("/v1/me")).ok(200);
}

fn keys_can_be_rotated_beside_the_server(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let kid = |token: &str| decode(token).0["kid"].clone();
    chat.command(&["keys", "rotate"]).succeeded();
    let since = std::time::Instant::now();
    let mut new = Person::log_in(chat.site(), "ann");
    while kid(&new.token) == kid(&ann.token) {
        assert!(
            since.elapsed() < std::time::Duration::from_secs(20),
            "the key stays"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
        new = Person::log_in(chat.site(), "ann");
    }
    // What the old key signed stays good.
    ann.call(Request::get("/v1/me")).ok(200);
    new.call(Request::get("/v1/me")).ok(200);
}
