//! The scenarios: what is done, and what may go wrong for people meanwhile.

mod steps;

use anyhow::Result;

use super::trial::Trial;

/// One way to harm a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What is done.
    pub about: &'static str,
    /// Whether it belongs to those that are tried at every change.
    pub short: bool,
    /// What may go wrong for people meanwhile: beginnings of the kinds that the load counts.
    pub(super) bears: &'static [&'static str],
    /// Whether nobody comes back to a socket meanwhile: without the database they could not.
    pub(super) stays: bool,
    /// Whether entries that were acked must have been lost, and sent again by their clients.
    pub(super) comes_back: bool,
    pub(super) steps: fn(&mut Trial<'_>) -> Result<()>,
}

const NOTHING: &[&str] = &[];
/// A gateway that dies takes its sockets and calls with it.
const GATEWAY: &[&str] = &[
    "socket cut",
    "no socket",
    "history: no answer",
    "login: no answer",
];
/// Only whoever signs in notices.
const AUTH: &[&str] = &["login", "refresh"];
/// Without the database, history and logins fail.
const POSTGRES: &[&str] = &["history", "login", "refresh"];
/// The same, and sends are refused once too many wait; while thousands are stored in the end, Redis
/// may miss the time it has for an answer.
const POSTGRES_AWAY: &[&str] = &["history", "login", "refresh", "overloaded", "unavailable"];
/// Without the queue, sends are refused, and whoever comes back has to try again.
const REDIS: &[&str] = &[
    "unavailable",
    "overloaded",
    "reset",
    "history",
    "login",
    "refresh",
    "no socket",
    "closed with 4411",
];

/// All of them, in the order in which they are tried. In the first minutes after Redis was started
/// again, ids are looked up in the database, so it is harmed before.
pub const ALL: [Scenario; 14] = [
    row("gateway-killed", GATEWAY, steps::gateway_killed)
        .about("kill -9 of each gateway")
        .short(),
    row("gateways-restarted", GATEWAY, steps::gateways_restarted)
        .about("rolling restart of all gateways"),
    row("scaled", NOTHING, steps::scaled).about("2 -> 4 -> 2 gateways"),
    row("auth-killed", AUTH, steps::auth_killed).about("kill -9 of the authentication service"),
    row("worker-killed", NOTHING, steps::worker_killed).about("kill -9 of each worker"),
    row("worker-killed-late", REDIS, steps::worker_killed_late)
        .about("kill -9 of both workers between the database's commit and their word to Redis")
        .stays()
        .short(),
    row("two-owners", NOTHING, steps::two_owners)
        .about("each worker frozen until others have its shards, and back"),
    row("postgres-killed", POSTGRES, steps::postgres_killed)
        .about("kill -9 of PostgreSQL, twice")
        .stays(),
    row("postgres-away", POSTGRES_AWAY, steps::postgres_away)
        .about("PostgreSQL away until gateways press back, and 60 s more")
        .stays(),
    row("redis-full", REDIS, steps::redis_full).about("no memory left in Redis"),
    row("redis-killed", REDIS, steps::redis_killed).about("kill -9 of Redis, twice"),
    row("redis-restarted", REDIS, steps::redis_restarted).about("restart of Redis in good order"),
    row("redis-emptied", REDIS, steps::redis_emptied)
        .about("FLUSHALL, with workers and without")
        .comes_back()
        .short(),
    row("redis-cut", REDIS, steps::redis_cut)
        .about("the end of Redis' file cut off while workers are stopped")
        .comes_back(),
];

const fn row(
    name: &'static str,
    bears: &'static [&'static str],
    steps: fn(&mut Trial<'_>) -> Result<()>,
) -> Scenario {
    Scenario {
        name,
        about: "",
        short: false,
        bears,
        stays: false,
        comes_back: false,
        steps,
    }
}

impl Scenario {
    const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    const fn short(mut self) -> Self {
        self.short = true;
        self
    }

    const fn stays(mut self) -> Self {
        self.stays = true;
        self
    }

    const fn comes_back(mut self) -> Self {
        self.comes_back = true;
        self
    }
}
