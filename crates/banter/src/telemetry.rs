//! Logs on stderr: for people in a terminal, JSON for programs.

use std::io::{IsTerminal as _, stderr};

use anyhow::{Context as _, Result};
use banter_server::settings::{LogFormat, Telemetry};
use tracing_subscriber::EnvFilter;

/// PostgreSQL notes at every start that the schema is there already.
const QUIETER: &str = "sqlx::postgres::notice=warn";

/// Starts logging.
///
/// # Errors
/// When the level cannot be understood, or logging was started before.
pub(crate) fn start(telemetry: &Telemetry) -> Result<()> {
    let filter = format!("{QUIETER},{}", telemetry.log_level);
    let filter = EnvFilter::try_new(filter).context("telemetry.log_level")?;
    let terminal = stderr().is_terminal();
    let human = match telemetry.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    let started = if human {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        builder.with_ansi(colours).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
