//! A PostgreSQL server for the tests: one that all share, each with a database of its own, and
//! further ones for those who stop theirs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use banter_storage::Postgres;
use banter_storage::postgres::Role;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::{Place, free_port, installed, output};

/// What errors and logs must not repeat.
pub(crate) const PASSWORD: &str = "correct-horse";
/// The database that those of the tests are copied from: it has the schema already.
const TEMPLATE: &str = "template_banter";

/// A running server.
pub(crate) struct Server {
    place: Place,
    programs: PathBuf,
    /// Root is not served: then it runs as this user.
    user: Option<&'static str>,
    port: u16,
}

impl Server {
    /// Starts a server on a free port. It forgets what it was told when the machine stops, which
    /// makes it quick.
    pub(crate) fn start() -> Self {
        let fresh = fresh();
        let mut server = Self::at(fresh.programs.clone());
        let mut copy = Command::new("cp");
        let data = fresh.place.path().join("data");
        output(copy.arg("-a").arg(data).arg(server.place.path()));
        if let Err(log) = server.up() {
            // Somebody has taken the port meanwhile, which is not our failure.
            assert!(log.contains("already in use"), "{log}");
            server.port = free_port();
            server.up().unwrap();
        }
        server
    }

    /// A server that has a place, and is nothing yet.
    fn at(programs: PathBuf) -> Self {
        let root = output(Command::new("id").arg("-u")) == "0";
        let user = root.then_some("postgres");
        let owner = user.map(|user| output(Command::new("id").args(["-u", user])));
        let owner = owner.map(|id| id.parse().unwrap());
        Self {
            place: Place::new("data/postmaster.pid", owner),
            programs,
            user,
            port: free_port(),
        }
    }

    /// A command of the server's programs, run as the server's user.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.place.path());
        command
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("pg_ctl");
        command
            .arg("-D")
            .arg(self.place.path().join("data"))
            .arg("-l")
            .arg(self.place.path().join("log"))
            .arg("-w")
            .args(arguments);
        command
    }

    /// Starts it again where it was stopped. An error is the end of its log.
    pub(crate) fn up(&self) -> Result<(), String> {
        let settings = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
             -c full_page_writes=off -c max_connections=300",
            self.port
        );
        let started = self.control(&["-s", "-o", &settings, "start"]).output();
        if started.unwrap().status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
        Err(log)
    }

    /// Stops it without a word to those who are connected.
    pub(crate) fn down(&self) {
        output(&mut self.control(&["-m", "immediate", "stop"]));
    }

    /// The address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://banter:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Makes a fresh database, empty or with the schema, and returns its address.
    pub(crate) async fn database(&self, empty: bool) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let template = if empty { "template1" } else { TEMPLATE };
        self.execute(format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await;
        self.url(&name)
    }

    /// Runs an administrator's statement.
    pub(crate) async fn execute(&self, sql: String) {
        let options: sqlx::postgres::PgConnectOptions = self.url("postgres").parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// A server that is never started: the others are copies of it, for making one takes a second.
fn fresh() -> &'static Server {
    static FRESH: OnceLock<Server> = OnceLock::new();
    FRESH.get_or_init(|| {
        let server = Server::at(programs());
        let secret = server.place.path().join("secret");
        fs::write(&secret, PASSWORD).unwrap();
        let mut initdb = server.program("initdb");
        initdb
            .args(["--no-sync", "--no-locale", "-E", "UTF8", "-U", "banter"])
            .args(["--auth", "scram-sha-256", "--pwfile"])
            .arg(&secret)
            .arg("-D")
            .arg(server.place.path().join("data"));
        output(&mut initdb);
        server
    })
}

/// The server that all tests share.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| {
        let server = Server::start();
        // The first test waits here within its own runtime, so the template needs another.
        std::thread::scope(|scope| {
            scope.spawn(|| template(&server));
        });
        server
    })
}

fn template(server: &Server) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        server.execute(format!("CREATE DATABASE {TEMPLATE}")).await;
        let url = server.url(TEMPLATE);
        Postgres::open(&url, Role::Command)
            .await
            .unwrap()
            .close()
            .await;
    });
}

/// Where the newest installed server lies; Debian keeps several beside each other, off the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let path = version.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            Some((number, path.join("bin")))
        })
        .collect();
    versions.sort();
    let directories: Vec<PathBuf> = versions.into_iter().rev().map(|(_, path)| path).collect();
    let pg_ctl = installed("pg_ctl", &directories, "postgresql");
    // A link on the path would hide what lies beside it.
    let pg_ctl = fs::canonicalize(pg_ctl).unwrap();
    pg_ctl.parent().unwrap().to_owned()
}
