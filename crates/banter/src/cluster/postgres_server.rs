//! The PostgreSQL of a cluster: made at the first start, reached with a password, never as root.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::AsyncWriteExt as _;

use super::directory::Directory;
use super::job::{Job, Owner};
use super::probe::Health;
use super::programs::Programs;
use super::{say, secret};

/// The account and the database of Banter.
pub(crate) const NAME: &str = "banter";
/// Connections: some ten for each of our processes, and a person with psql.
const CONNECTIONS_MAX: u32 = 400;

/// Makes the database where there is none.
///
/// # Errors
/// When that fails, and why.
pub(crate) async fn prepare(
    directory: &Directory,
    programs: &Programs,
    address: SocketAddr,
    password: &str,
) -> Result<Job> {
    let dir = directory.postgres();
    let data = dir.join("data");
    let mut make = DirBuilder::new();
    let made = make.recursive(true).mode(0o700).create(&dir);
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    let owner = owner()?;
    if let Some(owner) = owner {
        give(&dir, owner)?;
        let enters = at(programs, "postgres", &dir, Some(owner))
            .command()
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        ensure!(
            enters.await.is_ok_and(|status| status.success()),
            "PostgreSQL does not run as root, and its own user cannot get to {}; choose another \
             directory with --data-dir, such as /var/lib/banter-cluster",
            dir.display()
        );
    }
    if !data.exists() {
        make_database(&dir, programs, owner, password).await?;
    }
    let mut job = at(programs, "postgres", &dir, owner);
    job.arguments = vec!["-D".into(), "data".into()];
    for setting in [
        format!("port={}", address.port()),
        format!("listen_addresses={}", address.ip()),
        // A path of a socket may have 107 bytes; ours may be longer.
        "unix_socket_directories=".to_owned(),
        format!("max_connections={CONNECTIONS_MAX}"),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
    ] {
        job.arguments.extend(["-c".into(), setting.into()]);
    }
    job.health = Health::Postgres(data);
    job.listen = Some(address);
    Ok(job)
}

/// A program of PostgreSQL's in this directory.
fn at(programs: &Programs, name: &str, dir: &Path, owner: Option<Owner>) -> Job {
    Job {
        program: programs.postgres.join(name),
        arguments: Vec::new(),
        variables: vec![("LC_ALL", "C".into())],
        dir: dir.to_owned(),
        owner,
        health: Health::Postgres(dir.to_owned()),
        listen: None,
        admin: None,
    }
}

/// All or nothing: a directory of another name takes the right one when it is complete.
async fn make_database(
    dir: &Path,
    programs: &Programs,
    owner: Option<Owner>,
    password: &str,
) -> Result<()> {
    say(format_args!("making the database (some seconds)"));
    let new = dir.join("new");
    if new.exists() {
        let removed = fs::remove_dir_all(&new);
        removed.with_context(|| format!("cannot remove {}", new.display()))?;
    }
    let password_file = dir.join("password");
    secret::write(&password_file, password)?;
    if let Some(owner) = owner {
        give(&password_file, owner)?;
    }
    let mut initdb = at(programs, "initdb", dir, owner);
    for argument in ["-D", "new", "-U", NAME, "-E", "UTF8", "--locale=C"] {
        initdb.arguments.push(argument.into());
    }
    for argument in ["--auth=scram-sha-256", "--pwfile=password"] {
        initdb.arguments.push(argument.into());
    }
    let made = run(&initdb, "").await;
    fs::remove_file(&password_file).context("cannot remove a password")?;
    made?;
    let mut single = at(programs, "postgres", dir, owner);
    for argument in ["--single", "-D", "new", "postgres"] {
        single.arguments.push(argument.into());
    }
    run(&single, &format!("CREATE DATABASE {NAME};\n")).await?;
    fs::rename(&new, dir.join("data")).context("cannot keep the new database")
}

/// Runs one of PostgreSQL's programs to its end.
async fn run(job: &Job, input: &str) -> Result<()> {
    let shown = job.program.display();
    let mut command = job.command();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn();
    let mut child = child.with_context(|| format!("cannot start {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever does not read it says why in its own words.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await;
    let output = output.with_context(|| format!("cannot wait for {shown}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    bail!("{shown} failed: {}", last.unwrap_or("it does not say why"))
}

/// The user that stands in for root, if we are.
fn owner() -> Result<Option<Owner>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let ask = |flag: &str| -> Option<u32> {
        let output = std::process::Command::new("id")
            .args([flag, "postgres"])
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    match (ask("-u"), ask("-g")) {
        (Some(uid), Some(gid)) => Ok(Some(Owner { uid, gid })),
        _ => bail!(
            "PostgreSQL does not run as root, and there is no user postgres; start the cluster as \
             an ordinary user"
        ),
    }
}

fn give(path: &Path, owner: Owner) -> Result<()> {
    chown(path, Some(owner.uid), Some(owner.gid))
        .with_context(|| format!("cannot give {} to PostgreSQL's user", path.display()))
}
