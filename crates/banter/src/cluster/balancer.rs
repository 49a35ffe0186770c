//! The NGINX of a cluster: its configuration is written anew whenever its upstreams change.

use std::fs::{self, DirBuilder, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use anyhow::{Context as _, Result};
use banter_server::settings::Limits;

use super::directory::{Directory, turn_log};
use super::job::{Job, Role};
use super::member::Member;
use super::probe::Health;
use super::programs::Programs;
use super::secret;
use crate::nginx_config::{Site, Upstream};

/// The file in its directory.
const CONFIG: &str = "nginx.conf";

/// Makes its directory.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn prepare(
    directory: &Directory,
    programs: &Programs,
    listen: SocketAddr,
    status: SocketAddr,
) -> Result<Job> {
    let dir = directory.nginx();
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .and_then(|()| {
            // The workers of root's master are not root.
            let root = rustix::process::geteuid().is_root();
            let mode = if root { 0o711 } else { 0o700 };
            fs::set_permissions(&dir, Permissions::from_mode(mode))
        });
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    turn_log(&dir.join("access.log"));
    let arguments = ["-e", "stderr", "-g", "daemon off;", "-c"];
    let mut arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
    arguments.push(dir.join(CONFIG).into());
    Ok(Job {
        program: programs.nginx.clone(),
        arguments,
        variables: Vec::new(),
        dir,
        owner: None,
        health: Health::Nginx(status),
        listen: Some(listen),
        admin: Some(status),
    })
}

/// Writes the configuration for these members.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn configure<'a>(
    directory: &Directory,
    listen: SocketAddr,
    status: SocketAddr,
    limits: &Limits,
    members: impl Iterator<Item = &'a Member>,
) -> Result<()> {
    let mut gateways: Vec<Upstream> = Vec::new();
    let mut auths = Vec::new();
    for member in members {
        let address = member.job.listen.map(Into::into);
        match member.role {
            Role::Gateway => gateways.extend(address),
            Role::Auth => auths.extend(address),
            _ => {}
        }
    }
    let site = Site {
        listen,
        gateways,
        auths,
        tls: None,
        status: Some(status),
        run_dir: Some(directory.nginx()),
        limits: limits.clone(),
    };
    secret::write(&directory.nginx().join(CONFIG), &site.render()?)
}
