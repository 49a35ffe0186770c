//! `banter queue`: what waits on the way into the database, and what could not be stored.

use std::time::Duration;

use anyhow::Result;
use banter_protocol::id::{ChannelId, Epoch, Seq};
use banter_protocol::time::Timestamp;
use banter_storage::log::queue::{self, Rejected as Entry, Waiting};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::Location;
use crate::{database, print, run_async};

/// Rejected entries that are shown: more is no list to read.
const REJECTED_MAX: u32 = 1_000;

/// Show what waits in a cluster's queue, and what could not be stored
///
/// Works beside the running cluster, on its PostgreSQL or Redis, and changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(Status),
    Rejected(Rejected),
}

/// Show how much waits, and for how long
///
/// Workers keep it near zero; add one when the oldest entry's age grows. Needs Redis alone: it can
/// be asked while PostgreSQL is away.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter queue status
  banter queue status --json | jq .oldest_age_seconds")]
struct Status {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    location: Location,
}

/// List accepted entries that could not be stored, the newest first
///
/// A tombstone stands in the place of each, so that its channel goes on. Any such entry is a fault
/// of Banter or of what holds the data; it is kept for whoever looks into it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter queue rejected
  banter queue rejected --json | jq -r .reason | sort | uniq -c")]
struct Rejected {
    /// Print one JSON object a line, with what was in the queue
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    location: Location,
}

impl Queue {
    /// Does it.
    ///
    /// # Errors
    /// When the cluster's servers cannot be asked.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.action {
            Action::Status(status) => status.run(),
            Action::Rejected(rejected) => rejected.run(),
        }
    }
}

/// The whole queue, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Total {
    entries: u64,
    channels: u64,
    oldest_age_seconds: f64,
    shards: Vec<Shard>,
}

/// A shard of it.
#[derive(Debug, Serialize)]
struct Shard {
    shard: u8,
    epoch: Option<Epoch>,
    entries: u64,
    channels: u64,
    oldest_age_seconds: f64,
}

impl From<&[Waiting]> for Total {
    fn from(waiting: &[Waiting]) -> Self {
        let oldest = waiting.iter().map(|shard| shard.oldest_age).max();
        let shard = |shard: &Waiting| Shard {
            shard: shard.shard.number(),
            epoch: shard.epoch,
            entries: shard.entries,
            channels: shard.channels,
            oldest_age_seconds: shard.oldest_age.as_secs_f64(),
        };
        Self {
            entries: waiting.iter().map(|shard| shard.entries).sum(),
            channels: waiting.iter().map(|shard| shard.channels).sum(),
            oldest_age_seconds: oldest.unwrap_or(Duration::ZERO).as_secs_f64(),
            shards: waiting.iter().map(shard).collect(),
        }
    }
}

impl Status {
    fn run(&self) -> Result<()> {
        let settings = self.location.load(Vec::new())?.settings;
        run_async(async {
            let redis = database::open_queue(&settings).await?;
            let total = Total::from(&*queue::waiting(&redis).await?);
            let text = match self.json {
                true => serde_json::to_string(&total)? + "\n",
                false => table(&total),
            };
            print(text.as_bytes())
        })
    }
}

fn table(total: &Total) -> String {
    let mut text = format!(
        "{} entries of {} channels wait, the oldest for {:.1} s\n",
        total.entries, total.channels, total.oldest_age_seconds
    );
    for shard in total.shards.iter().filter(|shard| shard.entries > 0) {
        text.push_str(&format!(
            "  shard {:2}: {} entries of {} channels, the oldest for {:.1} s\n",
            shard.shard, shard.entries, shard.channels, shard.oldest_age_seconds
        ));
    }
    if total.shards.iter().any(|shard| shard.epoch.is_none()) {
        text.push_str("the queue is empty or new: the next send sets it up again\n");
    }
    text
}

/// A rejected entry, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    channel: ChannelId,
    seq: Seq,
    epoch: Epoch,
    at: Timestamp,
    reason: &'a str,
    raw: std::borrow::Cow<'a, str>,
}

impl Rejected {
    fn run(&self) -> Result<()> {
        let settings = self.location.load(Vec::new())?.settings;
        run_async(async {
            let postgres = database::open_shared(&settings).await?;
            let found = queue::rejected(&postgres, REJECTED_MAX).await?;
            let lines: Result<String> = found.iter().map(|entry| self.line(entry)).collect();
            print(lines?.as_bytes())
        })
    }

    fn line(&self, entry: &Entry) -> Result<String> {
        let (channel, seq, at) = (entry.channel, entry.seq, entry.at);
        // The reason may repeat what somebody wrote.
        let reason: String = entry.reason.escape_debug().collect();
        if !self.json {
            return Ok(format!("{at}  {channel}  {seq}  {reason}\n"));
        }
        let line = Line {
            channel,
            seq,
            epoch: entry.epoch,
            at,
            reason: &entry.reason,
            raw: String::from_utf8_lossy(&entry.raw),
        };
        Ok(serde_json::to_string(&line)? + "\n")
    }
}
