//! `banter top`: how the processes of a server fare, in a terminal.

mod draw;
mod figures;
mod screen;

use std::io::{ErrorKind, IsTerminal as _, Write as _, stdout};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use banter_client::admin::Admin;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use self::figures::Fleet;
use self::screen::Screen;
use crate::run_async;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// An address that takes longer is shown as silent.
const PATIENCE: Duration = Duration::from_secs(3);

/// Watch how a server fares: connections, messages, latencies, queue, CPU, memory
///
/// Asks the admin address of one or several processes once a second, and shows their last minutes.
/// Ends with q. Without a terminal it prints one plain snapshot.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter top
  banter top --admin http://gw1:8090 --admin http://gw2:8090
  banter top --once                          a table, for a pipe or a mail
  banter top --json | jq .connections        a line for each process and second")]
pub(crate) struct Top {
    /// Admin address; may be given several times
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8090")]
    admin: Vec<Address>,
    /// Print one snapshot, and end
    #[arg(long)]
    once: bool,
    /// Print one JSON object for each process and second
    #[arg(long)]
    json: bool,
}

/// An admin address as it is given: the scheme may be left out.
#[derive(Debug, Clone)]
struct Address(String);

impl std::str::FromStr for Address {
    type Err = banter_client::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        Admin::new(&url)?;
        Ok(Self(url))
    }
}

impl Top {
    /// Watches until it is ended, or once.
    ///
    /// # Errors
    /// When no address answers at the first look, or the terminal cannot be used.
    pub(crate) fn run(&self) -> Result<()> {
        run_async(async {
            let mut fleet = Fleet::new(&self.admin.iter().map(|it| &*it.0).collect::<Vec<_>>())?;
            fleet.look(PATIENCE).await;
            if let Some(why) = fleet.silence() {
                bail!("{why}; --admin names another admin address");
            }
            if self.json {
                return self.print_lines(&mut fleet).await;
            }
            if self.once || !stdout().is_terminal() {
                return print(&draw::table(&fleet, now()));
            }
            watch(&mut fleet).await
        })
    }

    async fn print_lines(&self, fleet: &mut Fleet) -> Result<()> {
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            let mut lines = String::new();
            for line in fleet.lines() {
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
            print(&lines)?;
            if self.once {
                return Ok(());
            }
            fleet.look(PATIENCE).await;
        }
    }
}

async fn watch(fleet: &mut Fleet) -> Result<()> {
    let mut ends = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ];
    let mut resized = signal(SignalKind::window_change())?;
    let screen = Screen::open().context("cannot use this terminal")?;
    let mut ticks = ticks();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                // A key is obeyed while an address is silent, too.
                tokio::select! {
                    () = fleet.look(PATIENCE) => {}
                    () = ended(&mut ends) => return Ok(()),
                    () = screen.asked_to_end() => return Ok(()),
                }
            }
            _ = resized.recv() => {}
            () = ended(&mut ends) => return Ok(()),
            () = screen.asked_to_end() => return Ok(()),
        }
        let (columns, rows) = screen.size();
        let lines = draw::screen(fleet, now(), columns);
        screen.show(&lines, columns, rows)?;
    }
}

async fn ended([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Prints; that nobody reads any more ends the command well.
fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(error.into()),
        written => written.context("cannot write to stdout"),
    }
}
