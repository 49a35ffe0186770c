//! Logging in on a real file.

use std::time::Duration;

use banter_protocol::error::Code;
use banter_protocol::session::Identity;
use banter_protocol::text::Username;
use banter_storage::{Database, Sqlite};

use super::*;

const PASSWORD: &str = "correct horse battery";
const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

struct Server {
    login: Login,
    settings: Settings,
    database: Database,
    _directory: tempfile::TempDir,
}

fn origin() -> Origin {
    "https://chat.example.org".parse().unwrap()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_ms(NOW.as_ms() + seconds * 1000)
}

impl Server {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(mut settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        settings.server.data_dir = directory.path().to_owned();
        let sqlite = Sqlite::open(&settings.sqlite_path().unwrap())
            .await
            .unwrap();
        let database = Database::from(sqlite);
        Self {
            login: Self::open(&settings, &database).await.unwrap(),
            settings,
            database,
            _directory: directory,
        }
    }

    async fn open(settings: &Settings, database: &Database) -> Result<Login, StartError> {
        Login::open(settings, &origin(), database, LoginMetrics::default(), NOW).await
    }

    async fn ann(&self) -> Issued {
        let registered = self.login.register("ann", PASSWORD, None, NOW);
        registered.await.unwrap()
    }

    async fn log_in(&self, username: &str, password: &str) -> Result<Issued, Refusal> {
        self.login.log_in(username, password, None, NOW).await
    }

    fn verify(&self, issued: &Issued) -> Result<Identity, Denied> {
        self.login
            .verifier
            .verify(&issued.access_token, NOW.as_ms())
    }

    async fn set_disabled(&self, disabled: bool) {
        let ann = Username::parse("ann").unwrap();
        // As `banter user disable` does it, beside the server.
        let accounts = Accounts::new(&self.database);
        let set = accounts.set_disabled(&ann, disabled, NOW).await;
        assert!(set.unwrap().is_some());
    }
}

fn code<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> Code {
    match answer.unwrap_err() {
        Refusal::Code(code) | Refusal::Until(code, _) => code,
        Refusal::Fields(fields) => fields[0].1,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn who_registers_may_log_in_under_any_spelling_of_the_name() {
    let server = Server::new().await;
    let issued = server.ann().await;
    assert_eq!(issued.expires_in, 600);
    let identity = server.verify(&issued).unwrap();
    assert_eq!(identity.user, issued.account.id);
    let again = server.log_in("ANN", PASSWORD).await.unwrap();
    assert_eq!(again.account, issued.account);
    assert_ne!(server.verify(&again).unwrap().session, identity.session);
    let taken = server.login.register("Ann", PASSWORD, None, NOW).await;
    assert_eq!(code(taken), Code::UsernameTaken);
}

#[tokio::test]
async fn registration_refuses_bad_fields_all_at_once_and_may_be_closed() {
    let mut server = Server::new().await;
    let refused = server.login.register("a b", "password", None, NOW).await;
    let Err(Refusal::Fields(fields)) = refused else {
        panic!("{refused:?}");
    };
    let username = ("username", Code::UsernameInvalid);
    assert_eq!(fields, [username, ("password", Code::PasswordWeak)]);
    server.login.registration = Registration::Closed;
    let closed = server.login.register("a b", PASSWORD, None, NOW).await;
    assert_eq!(code(closed), Code::RegistrationClosed);
}

#[tokio::test]
async fn every_failed_login_is_the_same_work_and_the_same_answer() {
    let server = Server::new().await;
    server.ann().await;
    let bob = server.login.register("bob", PASSWORD, None, NOW).await;
    bob.unwrap();
    server.set_disabled(true).await;
    for (username, password) in [
        ("ann", PASSWORD),
        ("bob", "wrong horse battery"),
        ("nobody", PASSWORD),
        ("not a username!", PASSWORD),
        ("", ""),
    ] {
        let before = server.login.password_hashes();
        let failed = server.log_in(username, password).await;
        assert_eq!(code(failed), Code::LoginFailed, "{username}");
        assert_eq!(server.login.password_hashes() - before, 1, "{username}");
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_without_further_work() {
    let server = Server::new().await;
    server.ann().await;
    for username in ["ann", "nobody"] {
        for _ in 0..limit::LOGIN_FAILURES_FREE {
            let failed = server.log_in(username, "wrong horse battery").await;
            assert_eq!(code(failed), Code::LoginFailed);
        }
        let before = server.login.password_hashes();
        let throttled = server.log_in(username, PASSWORD).await;
        let Err(Refusal::Until(Code::LoginThrottled, wait)) = throttled else {
            panic!("{throttled:?}");
        };
        assert_eq!(wait, Duration::from_secs(1));
        assert_eq!(server.login.password_hashes(), before);
    }
    let waited = server.login.log_in("ann", PASSWORD, None, later(1)).await;
    assert!(waited.is_ok());
}

#[tokio::test]
async fn many_right_logins_at_once_are_no_guesses() {
    let server = Server::new().await;
    server.ann().await;
    let log_in = || server.log_in("ann", PASSWORD);
    let all = tokio::join!(
        log_in(),
        log_in(),
        log_in(),
        log_in(),
        log_in(),
        log_in(),
        log_in()
    );
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
    assert!(all.4.is_ok() && all.5.is_ok() && all.6.is_ok());
}

#[tokio::test]
async fn an_address_has_its_own_limit() {
    let mut settings = Settings::default();
    settings.limits.address_logins_per_minute = 1;
    let server = Server::with(settings).await;
    let address = Some("192.0.2.1".parse().unwrap());
    let try_it = || server.login.register("ann", PASSWORD, address, NOW);
    assert!(try_it().await.is_ok());
    for _ in 1..limit::ADDRESS_LOGINS_BURST {
        assert_eq!(code(try_it().await), Code::UsernameTaken);
    }
    assert_eq!(code(try_it().await), Code::TooManyRequests);
    let login = server.login.log_in("ann", PASSWORD, address, NOW).await;
    assert_eq!(code(login), Code::TooManyRequests);
    assert!(server.log_in("ann", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_repeats_itself_shortly() {
    let server = Server::new().await;
    let first = server.ann().await;
    let refresh = |token: &str, at| {
        let token = token.to_owned();
        let login = &server.login;
        async move { login.refresh(&token, later(at)).await }
    };
    let (second, repeated) = tokio::join!(
        refresh(&first.refresh_token, 100),
        refresh(&first.refresh_token, 100)
    );
    let second = second.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(repeated.unwrap().refresh_token, second.refresh_token);
    let mut heard = server.login.verifier.revocations();
    let session = server.verify(&first).unwrap().session;
    let late = refresh(&first.refresh_token, 110).await;
    assert_eq!(code(late), Code::RefreshInvalid);
    assert_eq!(heard.try_recv(), Ok(Revoked::Session(session)));
    assert_eq!(server.verify(&first), Err(Denied::SessionEnded));
    let ended = refresh(&second.refresh_token, 111).await;
    assert_eq!(code(ended), Code::RefreshInvalid);
}

#[tokio::test]
async fn what_was_not_made_here_ends_nothing() {
    let server = Server::new().await;
    let issued = server.ann().await;
    let forged = issued
        .refresh_token
        .replace(&issued.refresh_token[40..50], &"A".repeat(10));
    for token in ["", "x", &forged, &issued.access_token] {
        let refused = server.login.refresh(token, NOW).await;
        assert_eq!(code(refused), Code::RefreshInvalid);
        let refused = server.login.log_out(token, NOW).await;
        assert_eq!(code(refused), Code::RefreshInvalid);
    }
    assert!(
        server
            .login
            .refresh(&issued.refresh_token, NOW)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_logout_ends_its_session_at_once_and_no_other() {
    let server = Server::new().await;
    let first = server.ann().await;
    let other = server.log_in("ann", PASSWORD).await.unwrap();
    let mut heard = server.login.verifier.revocations();
    let identity = server.verify(&first).unwrap();
    server
        .login
        .log_out(&first.refresh_token, NOW)
        .await
        .unwrap();
    assert_eq!(server.verify(&first), Err(Denied::SessionEnded));
    assert_eq!(
        server.login.verifier.standing(&identity),
        Err(Denied::SessionEnded)
    );
    assert_eq!(heard.try_recv(), Ok(Revoked::Session(identity.session)));
    assert!(heard.try_recv().is_err());
    assert!(server.verify(&other).is_ok());
    let again = server.login.log_out(&first.refresh_token, NOW).await;
    assert_eq!(code(again), Code::RefreshInvalid);
    let refused = server.login.refresh(&first.refresh_token, NOW).await;
    assert_eq!(code(refused), Code::RefreshInvalid);
    // A server that starts now knows it too.
    let restarted = Server::open(&server.settings, &server.database)
        .await
        .unwrap();
    let denied = restarted.verifier.verify(&first.access_token, NOW.as_ms());
    assert_eq!(denied, Err(Denied::SessionEnded));
}

#[tokio::test]
async fn a_disabled_account_is_out_and_its_old_tokens_stay_out() {
    let server = Server::new().await;
    let issued = server.ann().await;
    let mut heard = server.login.verifier.revocations();
    server.set_disabled(true).await;
    server.login.follow().await.unwrap();
    assert_eq!(heard.try_recv(), Ok(Revoked::User(issued.account.id)));
    assert_eq!(server.verify(&issued), Err(Denied::AccountDisabled));
    let refused = server.login.refresh(&issued.refresh_token, NOW).await;
    assert_eq!(code(refused), Code::RefreshInvalid);
    server.set_disabled(false).await;
    server.login.follow().await.unwrap();
    assert_eq!(server.verify(&issued), Err(Denied::SessionEnded));
    let fresh = server.log_in("ann", PASSWORD).await.unwrap();
    assert!(server.verify(&fresh).is_ok());
}

#[tokio::test]
async fn keys_are_rotated_beside_the_server() {
    let server = Server::new().await;
    let issued = server.ann().await;
    let kid = || server.login.keys.load().active().kid.clone();
    let first = kid();
    let rotate = async |compromised| {
        let rotated = rotate_keys(&server.settings, &server.database, compromised).await;
        rotated.unwrap();
        server.login.follow().await.unwrap();
    };
    rotate(false).await;
    assert_ne!(kid(), first);
    assert!(server.verify(&issued).is_ok());
    let fresh = server.log_in("ann", PASSWORD).await.unwrap();
    assert!(server.verify(&fresh).is_ok());

    let mut heard = server.login.verifier.revocations();
    rotate(true).await;
    assert_eq!(heard.try_recv(), Ok(Revoked::Everyone));
    assert_eq!(server.verify(&issued), Err(Denied::Invalid));
    assert_eq!(server.verify(&fresh), Err(Denied::Invalid));
    let refreshed = server.login.refresh(&fresh.refresh_token, NOW).await;
    assert!(server.verify(&refreshed.unwrap()).is_ok());
}

#[tokio::test]
async fn housekeeping_rotates_in_time_and_forgets_what_is_over() {
    let server = Server::new().await;
    let issued = server.ann().await;
    server
        .login
        .log_out(&issued.refresh_token, NOW)
        .await
        .unwrap();
    let first = server.login.keys.load().active().kid.clone();
    let day = 24 * 3600;
    server.login.keep_house(later(29 * day)).await.unwrap();
    let keys = server.login.keys.load_full();
    assert_eq!(keys.active().kid, first);
    assert_eq!(
        server.login.stores.revocations.after(0, 9).await.unwrap(),
        []
    );
    server.login.keep_house(later(30 * day + 1)).await.unwrap();
    let keys = server.login.keys.load_full();
    assert_ne!(keys.active().kid, first);
    assert!(keys.public().get(&first).is_some());
    server.login.keep_house(later(31 * day)).await.unwrap();
    let keys = server.login.keys.load_full();
    assert!(keys.public().get(&first).is_none());
}

#[tokio::test]
async fn another_secret_is_told_and_mixes_nothing() {
    let mut server = Server::new().await;
    server.settings.auth.secret = Some("0123456789abcdef0123456789abcdef".parse().unwrap());
    let started = Server::open(&server.settings, &server.database).await;
    assert!(matches!(
        started.err(),
        Some(StartError::Keys(Unusable::OtherSecret))
    ));
    let rotated = rotate_keys(&server.settings, &server.database, false).await;
    assert!(rotated.is_err());
    let replaced = rotate_keys(&server.settings, &server.database, true).await;
    assert!(replaced.is_ok());
    assert!(
        Server::open(&server.settings, &server.database)
            .await
            .is_ok()
    );
}
