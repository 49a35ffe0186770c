//! What is measured: one function a row of the table.

mod broadcast;
mod cluster;
mod hold;
mod read;

use std::cell::OnceCell;

use anyhow::{Context as _, Result};
use banter_protocol::id::ChannelId;

use crate::generator::{Generator, Run, Seat};
use crate::process::Cores;
use crate::report::Outcome;
use crate::seed::{Directory, Roster, SMALL, SMALL_MEMBERS, Seeds};
use crate::service::Service;

pub use self::cluster::ROWS as CLUSTER;

/// Sockets of a load that read every frame: enough for a p99 of all, few enough to cost nothing.
const WATCHERS: usize = 64;

/// A row.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What is done.
    pub work: &'static str,
    measure: fn(&Bench) -> Result<Outcome>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Row {
    /// Measures once.
    ///
    /// # Errors
    /// The server cannot be started, or ends.
    pub fn measure(&self, bench: &Bench) -> Result<Outcome> {
        bench.cores.apply()?;
        let measured = (self.measure)(bench);
        bench.cores.apply()?;
        measured.with_context(|| format!("measure {}", self.name))
    }
}

/// The rows of one process, in the order of the table.
pub const ALL: &[Row] = &[
    Row {
        name: "room",
        work: "one channel, 1,000 members, 1,000 messages/s of 150 bytes",
        measure: broadcast::room,
    },
    Row {
        name: "room-max",
        work: "the same, as fast as it goes with 256 under way, server on one core",
        measure: broadcast::room_max,
    },
    Row {
        name: "durable",
        work: "100 members, 100 messages/s, durable before delivered",
        measure: broadcast::durable,
    },
    Row {
        name: "rooms-max",
        work: "200 channels of 10 members, as fast as it goes with 10 under way each, server on one core",
        measure: broadcast::rooms_max,
    },
    Row {
        name: "idle",
        work: "15,000 idle connections, member of the same 2 channels, then of 12",
        measure: hold::idle,
    },
    Row {
        name: "handshake",
        work: "from connect to welcome with 2 channels",
        measure: hold::handshake,
    },
    Row {
        name: "sends",
        work: "durable sends over 200 connections with 10 under way each, both cores",
        measure: broadcast::sends,
    },
    Row {
        name: "history",
        work: "a page of 50 in a channel of 1,000,000 entries, and of 1,000",
        measure: read::history,
    },
    Row {
        name: "start",
        work: "from start to /readyz on a database of 1,000,000 entries",
        measure: read::start,
    },
    Row {
        name: "slow",
        work: "100 members, 1,000 messages/s of 1 KiB, one of them does not read",
        measure: broadcast::slow,
    },
    Row {
        name: "login",
        work: "refused logins: unknown user, wrong password",
        measure: read::login,
    },
];

/// What rows need.
#[derive(Debug)]
pub struct Bench {
    seeds: Seeds,
    cores: Cores,
    /// Made when a row needs one, and used by all that follow.
    cluster: OnceCell<cluster::Stage>,
}

/// A server with everybody in it.
struct Stage {
    service: Service,
    directory: Directory,
    roster: Roster,
}

/// Where server and generator run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placing {
    /// Wherever the system likes.
    Free,
    /// The server on one core, the generator on another.
    Apart,
}

impl Bench {
    /// Measures with these data directories.
    ///
    /// # Errors
    /// The system does not tell which cores there are.
    pub fn new(seeds: Seeds) -> Result<Self> {
        Ok(Self {
            seeds,
            cores: Cores::now()?,
            cluster: OnceCell::new(),
        })
    }

    fn stage(&self, placing: Placing) -> Result<Stage> {
        let (directory, roster) = self.seeds.people()?;
        let service = self.serve(directory.path(), placing)?;
        Ok(Stage {
            service,
            directory,
            roster,
        })
    }

    /// Starts the server; it keeps the cores that this thread has at that moment.
    fn serve(&self, directory: &std::path::Path, placing: Placing) -> Result<Service> {
        if placing == Placing::Free {
            return Service::start(self.seeds.binary(), directory);
        }
        let core = |number| self.cores.only(number).context("this needs two cores");
        let (server, generator) = (core(0)?, core(1)?);
        server.apply()?;
        let service = Service::start(self.seeds.binary(), directory);
        generator.apply()?;
        service
    }
}

impl Stage {
    fn generator(&self, channels: &[&str]) -> Result<Generator> {
        let channels: Result<Vec<_>> = channels.iter().map(|c| self.roster.channel(c)).collect();
        Generator::new(
            &[self.service.address()],
            self.service.process().into(),
            &channels?,
        )
    }
}

/// Seats of `b0000` … in channel 0 of a load: some send, some watch, the others count. Those who
/// send are spread over the addresses of a load, too.
fn members(roster: &Roster, count: usize, senders: usize) -> Result<Vec<Seat>> {
    let (nth_sends, nth_watches) = (count / senders, count.div_ceil(WATCHERS));
    (0..count)
        .map(|number| {
            let token = roster.token(&format!("b{number:04}"))?;
            let seat = Seat::listener(token, &[0]);
            let (group, place) = (number / nth_sends, number % nth_sends);
            Ok(if place == group % nth_sends {
                seat.sending(0)
            } else if number % nth_watches == 0 {
                seat.watching()
            } else {
                seat
            })
        })
        .collect()
}

/// The small channels, and so many members of each, one of whom sends.
fn small(roster: &Roster, members: usize) -> Result<(Vec<ChannelId>, Vec<Seat>)> {
    let channels = (0..SMALL).map(|number| roster.channel(&format!("small{number}")));
    let mut seats = Vec::new();
    for channel in 0..SMALL {
        for member in 0..members {
            let user = format!("b{:04}", channel * SMALL_MEMBERS + member);
            let seat = Seat::listener(roster.token(&user)?, &[channel]);
            // They are spread over the addresses of a load.
            seats.push(if member == channel % members {
                seat.sending(channel)
            } else {
                seat
            });
        }
    }
    Ok((channels.collect::<Result<_>>()?, seats))
}

/// Notes what went wrong in a run.
fn faults(outcome: &mut Outcome, run: &Run) {
    if run.lost != 0 {
        outcome.faults.push(format!("{} deliveries lost", run.lost));
    }
    for (kind, count) in &run.faults {
        outcome.faults.push(format!("{kind}: {count}"));
    }
}
