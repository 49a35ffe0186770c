//! A process that lets people in, and hands keys and revocations to the gateways.

use std::time::Duration;

use banter_storage::{Database, postgres};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use super::wait::{self, Wait};
use crate::app::{AuthApp, Process};
use crate::login::Login;

/// How long requests that have begun may take: a password that waits for a core, and its answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn start(process: &Process) -> Result<AuthApp, StartError> {
    let database: Database = wait::database(process, postgres::Role::Auth).await?.into();
    let queue = wait::queue(process).await?;
    let mut wait = Wait::new(process, "accounts", "accounts and keys".to_owned());
    let (settings, origin, metrics) = (&process.settings, &process.public_origin, &process.metrics);
    let login = loop {
        match Login::start(settings, origin, &database, Some(&queue), metrics).await {
            Ok(login) => break login,
            Err(error) => wait.again(error.into()).await?,
        }
    };
    wait.over();
    Ok(AuthApp {
        process: process.clone(),
        login,
    })
}

pub(super) async fn drain(stop: &CancellationToken, servers: &TaskTracker) {
    stop.cancel();
    if tokio::time::timeout(DRAIN_TIMEOUT, servers.wait())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time");
    }
}
