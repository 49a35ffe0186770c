//! The Redis server that carries the log and the bus.
//!
//! One multiplexed connection carries all commands of a process. It is made anew when it breaks,
//! soon but not at once, and nothing is sent on a new one before the server has told who it is:
//! after a restart its data may be older than what was seen of them.

mod fitness;
mod reach;
mod script;

pub use fitness::Durability;
pub(crate) use fitness::{field, text};
pub(crate) use script::{Call, Script};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo as _, Pipeline};
use redis::{ProtocolVersion, Value};

use crate::error::{Error, Result};
use fitness::{Server, Unfit};

/// How long one round of commands may take, unless [`Redis::patient`] says otherwise: a sender is
/// refused rather than kept waiting.
pub const DEADLINE: Duration = Duration::from_millis(300);
/// How long a connection may take to be ready, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was silent for so long when an answer is late is given up.
const SILENCE_MAX: Duration = Duration::from_millis(600);
/// Wait between two attempts to connect, doubled with each failure…
const DELAY_MIN: Duration = Duration::from_millis(50);
/// …up to this: a server that is back is used at once.
const DELAY_MAX: Duration = Duration::from_millis(250);
/// Commands that wait in the client while others are being written.
const PIPELINE_BUFFER: usize = 1024;

/// A Redis server in use. Cloning shares its connection.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    deadline: Duration,
}

struct Shared {
    client: Client,
    durability: Durability,
    state: Mutex<State>,
    /// Held while connecting: one attempt serves everybody.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    live: Option<Connection>,
    /// The last connection's number.
    connections: u64,
    failure: Option<Failure>,
}

struct Failure {
    at: Instant,
    delay: Duration,
    error: String,
}

/// A connection to a server that is fit and has told who it is. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Connection {
    inner: MultiplexedConnection,
    run_id: Arc<str>,
    number: u64,
    heard: Arc<Mutex<Instant>>,
    /// The server has hung up.
    closed: Arc<AtomicBool>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects to the server at `url` (`redis://` or `rediss://`), with `password` where the URL
    /// has none.
    ///
    /// # Errors
    /// [`Error::TooOld`] and [`Error::Settings`] when the server, or the URL, must not be used;
    /// [`Error::Unavailable`] when the server cannot be reached now. None of them repeats a
    /// password.
    pub async fn open(url: &str, password: Option<&str>, durability: Durability) -> Result<Self> {
        let redis = Self {
            shared: Arc::new(Shared {
                client: Client::open(address(url, password)?).map_err(|_| Unfit::Address)?,
                durability,
                state: Mutex::default(),
                connecting: tokio::sync::Mutex::default(),
            }),
            deadline: DEADLINE,
        };
        redis.connection().await?;
        Ok(redis)
    }

    /// The same server, for somebody who has more time: each round of commands may take so long,
    /// and so may each question that an append asks the database.
    #[must_use]
    pub fn patient(&self, deadline: Duration) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            deadline,
        }
    }

    /// How long whoever uses it waits for an answer.
    pub(crate) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The connection for commands.
    pub(crate) async fn connection(&self) -> Result<Connection> {
        if let Some(live) = self.shared.live() {
            return Ok(live);
        }
        let shared = Arc::clone(&self.shared);
        // A task of its own: a caller that gives up does not end it for the others.
        let connecting = tokio::spawn(async move { shared.connect().await });
        connecting
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?
    }

    /// Another connection, with settings of the caller's own.
    pub(crate) async fn connect_with(&self, config: &AsyncConnectionConfig) -> Result<Connection> {
        self.shared.handshake(config).await
    }

    /// Sends commands in one round; the answers stand in their order, errors of the server among
    /// them.
    pub(crate) async fn round(
        &self,
        connection: &Connection,
        commands: &Pipeline,
    ) -> Result<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut inner = connection.inner.clone();
        let sending = inner.send_packed_commands(commands, 0, commands.len());
        match tokio::time::timeout(self.deadline, sending).await {
            Ok(Ok(answers)) => {
                *connection.heard() = Instant::now();
                Ok(answers)
            }
            Ok(Err(error)) => {
                self.drop_connection(connection);
                Err(unavailable(&error))
            }
            // It may have been done, or be done later.
            Err(_) => {
                if connection.heard().elapsed() > SILENCE_MAX {
                    self.drop_connection(connection);
                }
                Err(Error::Unavailable("Redis does not answer in time".into()))
            }
        }
    }

    /// Sends one command.
    pub(crate) async fn one(&self, connection: &Connection, command: redis::Cmd) -> Result<Value> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let answer = self.round(connection, &commands).await?.pop();
        self.checked(connection, answer.unwrap_or(Value::Nil))
    }

    /// An answer that is no error of the server.
    pub(crate) fn checked(&self, connection: &Connection, answer: Value) -> Result<Value> {
        let Value::ServerError(error) = answer else {
            return Ok(answer);
        };
        if error.code() == "OOM" {
            return Err(Error::Overloaded);
        }
        // Demoted, loading, without its peers: another server may be right now.
        if ["READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS"].contains(&error.code()) {
            self.drop_connection(connection);
        }
        Err(Error::Unavailable(format!("Redis refused: {error}")))
    }

    /// Makes the next caller connect anew.
    fn drop_connection(&self, connection: &Connection) {
        let mut state = self.shared.state();
        if state
            .live
            .as_ref()
            .is_some_and(|live| live.number == connection.number)
        {
            state.live = None;
        }
    }
}

impl Connection {
    /// Identifies the server process: another one may have other data.
    pub(crate) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Tells this process's connections apart.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection itself.
    pub(crate) fn inner(&self) -> MultiplexedConnection {
        self.inner.clone()
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Option<Connection> {
        let live = self.state().live.clone();
        live.filter(|connection| !connection.closed.load(Ordering::Relaxed))
    }

    async fn connect(&self) -> Result<Connection> {
        let _turn = self.connecting.lock().await;
        if let Some(live) = self.live() {
            return Ok(live);
        }
        if let Some(failure) = &self.state().failure
            && failure.at.elapsed() < failure.delay
        {
            return Err(Error::Unavailable(failure.error.clone()));
        }
        let closed = Arc::new(AtomicBool::new(false));
        let hung_up = Arc::clone(&closed);
        let config = AsyncConnectionConfig::new()
            // Heard of at once, it does not cost the next caller an error.
            .set_push_sender(move |push: redis::PushInfo| {
                if push.kind == redis::PushKind::Disconnection {
                    hung_up.store(true, Ordering::Relaxed);
                }
                Ok::<_, redis::aio::SendError>(())
            })
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // The deadline is set round each round of commands, once.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        let attempt = self.handshake(&config).await.map(|connection| Connection {
            closed,
            ..connection
        });
        let mut state = self.state();
        match &attempt {
            Ok(connection) => {
                state.live = Some(connection.clone());
                state.failure = None;
            }
            Err(error) => {
                let last = state.failure.as_ref().map(|failure| failure.delay * 2);
                state.failure = Some(Failure {
                    at: Instant::now(),
                    delay: last.unwrap_or(DELAY_MIN).min(DELAY_MAX),
                    error: error.to_string(),
                });
            }
        }
        attempt
    }

    /// Connects and asks the server who it is, whether it is fit, and to learn our scripts.
    async fn handshake(&self, config: &AsyncConnectionConfig) -> Result<Connection> {
        let greeting = async {
            let mut inner = self
                .client
                .get_multiplexed_async_connection_with_config(config)
                .await?;
            let mut questions = redis::pipe();
            questions
                .cmd("INFO")
                .cmd("CONFIG")
                .arg("GET")
                .arg("appendfsync");
            for source in script::sources() {
                questions.cmd("SCRIPT").arg("LOAD").arg(source);
            }
            let answers = inner
                .send_packed_commands(&questions, 0, questions.len())
                .await?;
            Ok::<_, redis::RedisError>((inner, answers))
        };
        let (inner, mut answers) = tokio::time::timeout(CONNECT_TIMEOUT, greeting)
            .await
            .map_err(|_| Error::Unavailable("Redis does not answer".into()))?
            .map_err(|error| unavailable(&error))?;
        for refused in answers.drain(2..) {
            if let Value::ServerError(error) = refused {
                return Err(Error::Unavailable(format!(
                    "Redis refused a script: {error}"
                )));
            }
        }
        let server = Server::read(&answers)?;
        server.check(self.durability)?;
        let mut state = self.state();
        state.connections += 1;
        Ok(Connection {
            inner,
            run_id: server.run_id.into(),
            number: state.connections,
            heard: Arc::new(Mutex::new(Instant::now())),
            closed: Arc::default(),
        })
    }
}

fn address(url: &str, password: Option<&str>) -> Result<ConnectionInfo> {
    // The library's error may repeat the URL, with the password in it.
    let info = url.into_connection_info().map_err(|_| Unfit::Address)?;
    let mut settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    if let (None, Some(password)) = (settings.password(), password) {
        settings = settings.set_password(password);
    }
    Ok(info.set_redis_settings(settings))
}

fn unavailable(error: &redis::RedisError) -> Error {
    Error::Unavailable(format!("Redis: {error}"))
}
