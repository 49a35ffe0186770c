//! The Redis of a cluster: durable before it answers, never evicting, reached with a password.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;

use anyhow::{Context as _, Result};

use super::directory::Directory;
use super::job::Job;
use super::probe::Health;
use super::programs::Programs;
use super::secret;

/// What it may hold. Gateways press back at 70 %: a million unstored messages, and half a machine's
/// memory is still the database's.
const MEMORY: &str = "512mb";

/// Writes its configuration.
///
/// # Errors
/// When that cannot be written.
pub(crate) fn prepare(
    directory: &Directory,
    programs: &Programs,
    address: SocketAddr,
    password: &str,
) -> Result<Job> {
    let dir = directory.redis();
    let mut make = DirBuilder::new();
    let made = make.recursive(true).mode(0o700).create(&dir);
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    let config = dir.join("redis.conf");
    let (ip, port) = (address.ip(), address.port());
    // It runs in its own directory, so that no path needs to be written.
    let text = format!(
        "# Made by banter cluster up, again at each start.\n\
         bind {ip}\nport {port}\nprotected-mode yes\nrequirepass {password}\n\
         daemonize no\ndir .\nsave \"\"\n\
         appendonly yes\nappendfsync always\n\
         maxmemory {MEMORY}\nmaxmemory-policy noeviction\n"
    );
    secret::write(&config, &text)?;
    Ok(Job {
        program: programs.redis.clone(),
        arguments: vec!["redis.conf".into()],
        variables: Vec::new(),
        dir,
        owner: None,
        health: Health::Redis(address, password.to_owned()),
        listen: Some(address),
        admin: None,
    })
}
