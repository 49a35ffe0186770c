//! What a generator is told, and what it tells: one JSON object a line.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::sample::Sample;
use crate::audit::Condensed;

/// A user of a load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Person {
    /// Number among all users, which is the client's and the member's in the audit too.
    pub number: u32,
    /// Access token.
    pub token: String,
    /// What renews it.
    pub refresh_token: String,
    /// When it ends: nanoseconds of the monotonic clock.
    pub expires_ns: u64,
}

/// Everything that a generator has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Where the server listens.
    pub server: SocketAddr,
    /// What is put into `Host`.
    pub host: String,
    /// The name of its certificate, where it speaks TLS.
    pub tls: Option<String>,
    /// What is done.
    pub profile: Profile,
    /// Actions a second of this generator.
    pub rate: f64,
    /// Where in an interval of the schedule it acts, from 0 to 1.
    pub phase: f64,
    /// Chance is had again with it.
    pub seed: u64,
    /// Number of this generator.
    pub generator: u32,
    /// Its users.
    pub people: Vec<Person>,
    /// Names of all users, by their numbers.
    pub names: Vec<String>,
    /// Ids of all channels.
    pub channels: Vec<String>,
    /// Whether the first one is everybody's.
    pub everybody: bool,
    /// Password of all users, for those who log in.
    pub password: String,
    /// How long nobody may get in at the beginning before the load begins with those who have, in
    /// nanoseconds.
    pub patience_ns: u64,
}

/// What a generator is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Its plan: to connect everybody.
    Plan(Box<Plan>),
    /// To act, from one time to another; nanoseconds of the monotonic clock.
    Go {
        /// When to begin.
        start_ns: u64,
        /// What is due from then on is timed.
        measured_ns: u64,
        /// What is due from then on is not done.
        end_ns: u64,
    },
    /// To act so often a second from now on.
    Rate(f64),
    /// To stop acting, wait for what is under way, and tell what was seen.
    Stop,
}

/// What a generator tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// So many sockets have had their `welcome`.
    Opened(u32),
    /// All have.
    Ready,
    /// What happened in a second.
    Sample(Box<Sample>),
    /// Everything it saw; it ends.
    Done(Box<Condensed>),
    /// It cannot go on.
    Failed(String),
}
