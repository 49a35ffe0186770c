//! The PostgreSQL server of a run of the tests: one for all, each chat with a database of its own.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Place, installed, output};
use crate::support::fixture::free_address;

/// What no log may repeat.
const PASSWORD: &str = "correct-horse";

/// Makes a fresh database; gives its address.
pub(crate) fn database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = shared();
    let name = format!("chat_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let url = |database: &str| {
        let port = server.port;
        format!("postgres://banter:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable")
    };
    run(&url("postgres"), &[format!("CREATE DATABASE {name}")]);
    url(&name)
}

/// Makes a copy of a database that nobody uses.
pub(crate) fn copy(url: &str) {
    let (server, name) = split(url);
    let copy = format!("CREATE DATABASE {name}_copy TEMPLATE {name}");
    run(&server, &[copy]);
}

/// Puts the copy in the place of a database that nobody uses.
pub(crate) fn put_back(url: &str) {
    let (server, name) = split(url);
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    let rename = format!("ALTER DATABASE {name}_copy RENAME TO {name}");
    run(&server, &[drop, rename]);
}

/// The address of a database's neighbour, and its name.
fn split(url: &str) -> (String, &str) {
    let (start, rest) = url.rsplit_once('/').expect("a path");
    let (name, query) = rest.split_once('?').expect("a query");
    (format!("{start}/postgres?{query}"), name)
}

fn run(url: &str, statements: &[String]) {
    let mut psql = Command::new(shared().programs.join("psql"));
    psql.args(["-q", "-d", url]);
    for statement in statements {
        psql.args(["-c", statement]);
    }
    output(&mut psql);
}

struct Server {
    /// Holds the server's directory.
    _place: Place,
    programs: PathBuf,
    port: u16,
}

fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(start)
}

/// Starts a server that forgets what it was told when the machine stops, which makes it quick.
fn start() -> Server {
    let programs = programs();
    let place = Place::new("data/postmaster.pid");
    let root = output(Command::new("id").arg("-u")) == "0";
    if root {
        // Root is not served.
        let owner = output(Command::new("id").args(["-u", "postgres"]));
        let owner = owner.parse().expect("a number");
        chown(place.path(), Some(owner), None).expect("it is ours");
    }
    let program = |name: &str| {
        let program = programs.join(name);
        let mut command = match root {
            false => Command::new(program),
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
        };
        command.current_dir(place.path());
        command
    };
    let data = place.path().join("data");
    let secret = place.path().join("secret");
    std::fs::write(&secret, PASSWORD).expect("it can be written");
    output(
        program("initdb")
            .args(["--no-sync", "--no-locale", "-E", "UTF8", "-U", "banter"])
            .args(["--auth", "scram-sha-256", "--pwfile"])
            .arg(&secret)
            .arg("-D")
            .arg(&data),
    );
    let port = free_address().port();
    let settings = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
         -c full_page_writes=off -c max_connections=1000"
    );
    let mut control = program("pg_ctl");
    control.arg("-D").arg(&data).arg("-l");
    control.arg(place.path().join("log"));
    output(control.args(["-w", "-s", "-o", &settings, "start"]));
    Server {
        _place: place,
        programs,
        port,
    }
}

/// Where the newest installed server lies; Debian keeps several beside each other, off the path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut versions: Vec<(u32, PathBuf)> = versions
        .into_iter()
        .flatten()
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
    let pg_ctl = std::fs::canonicalize(pg_ctl).expect("it is there");
    pg_ctl.parent().expect("a directory").to_owned()
}
