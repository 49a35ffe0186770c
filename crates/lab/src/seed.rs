//! Data directories with accounts and channels in them: made once, through the public interface,
//! kept, and copied for every measurement.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use banter_protocol::id::ChannelId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cluster::Cluster;
use crate::generator::{Generator, Load, Pace, Seat};
use crate::http::{self, Http};
use crate::service::Service;

/// Every account's password; what it guards is gone with the directory.
pub const PASSWORD: &str = "correct horse battery staple";
/// Changes whenever the directories made here change.
const VERSION: &str = "1";
/// Calls at once: hashing keeps every core busy.
const CALLERS: usize = 8;
/// Tokens that end sooner are renewed first.
const TOKENS_LAST_S: u64 = 2 * 3600;

/// Accounts `b0` … of the loads.
pub const USERS: usize = 2_000;
/// Accounts `i0` … that are idle: with 32 sockets each at most, enough for 15,000.
pub const IDLERS: usize = 500;
/// Members of the channel `room`.
pub const ROOM: usize = 1_000;
/// Members of the channel `hundred`.
pub const HUNDRED: usize = 100;
/// Channels `small0` …
pub const SMALL: usize = 200;
/// Members of each of them.
pub const SMALL_MEMBERS: usize = 10;
/// Channels `idle0` … that every idler is a member of, and those he may join.
pub const IDLE: usize = 2;
/// See [`IDLE`].
pub const IDLE_ALL: usize = 12;
/// Messages of the channel `long`.
pub const LONG: u64 = 1_000_000;
/// Messages of the channel `short`.
pub const SHORT: u64 = 1_000;

/// Who and what is in a data directory.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Roster {
    users: BTreeMap<String, Tokens>,
    channels: BTreeMap<String, ChannelId>,
    /// When the first of the access tokens ends: seconds since 1970.
    expires_s: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Made {
    id: ChannelId,
}

impl Roster {
    /// A user's access token.
    ///
    /// # Errors
    /// There is no such user.
    pub fn token(&self, user: &str) -> Result<&str> {
        let tokens = self
            .users
            .get(user)
            .with_context(|| format!("find {user}"))?;
        Ok(&tokens.access_token)
    }

    /// A channel.
    ///
    /// # Errors
    /// There is no such channel.
    pub fn channel(&self, name: &str) -> Result<ChannelId> {
        let found = self
            .channels
            .get(name)
            .with_context(|| format!("find {name}"))?;
        Ok(*found)
    }

    fn read(directory: &Path) -> Result<Self> {
        let text = fs::read(directory.join("roster.json")).context("read the roster")?;
        serde_json::from_slice(&text).context("read the roster")
    }

    fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).context("write the roster")?;
        fs::write(directory.join("roster.json"), text).context("write the roster")
    }
}

/// The place of all directories, and the binary that fills them.
#[derive(Debug, Clone)]
pub struct Seeds {
    home: PathBuf,
    binary: PathBuf,
    /// Whether what a measurement wrote is kept.
    keep: bool,
}

/// A data directory for one measurement. Dropped, it is removed.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Seeds {
    /// Directories below `home`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(home: &Path, binary: &Path, keep: bool) -> Result<Self> {
        fs::create_dir_all(home).with_context(|| format!("make {}", home.display()))?;
        Ok(Self {
            home: home.canonicalize().context("find the directory")?,
            binary: binary.to_owned(),
            keep,
        })
    }

    /// The binary that is measured.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A copy of the directory with all accounts and channels.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn people(&self) -> Result<(Directory, Roster)> {
        let seed = self.seed("people", None, fill_everybody)?;
        let copy = Directory {
            path: self.home.join(format!("run-{}", std::process::id())),
            keep: self.keep,
        };
        copy_flat(&seed, copy.path())?;
        Ok((copy, Roster::read(&seed)?))
    }

    /// A new cluster with all accounts and channels but the idle ones. None is kept and copied: for
    /// ten minutes after its queue was moved or restarted a cluster asks its database about every
    /// message, which is not what is to be measured.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn cluster(&self) -> Result<(Cluster, Roster, Directory)> {
        eprintln!("making a cluster: this takes a minute, each time");
        let directory = Directory {
            path: self.home.join(format!("cluster-{}", std::process::id())),
            keep: self.keep,
        };
        fs::create_dir_all(directory.path()).context("make a directory")?;
        let log = directory.path().join("cluster.log");
        let size = ["--gateways", "2", "--workers", "1"];
        let cluster = Cluster::start(&self.binary, directory.path(), &log, size)?;
        let balancer = cluster.status()?.addresses("nginx").first().copied();
        let roster = people(balancer.context("find NGINX")?)?;
        Ok((cluster, roster, directory))
    }

    /// The directory with a million entries, which is only read.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn million(&self) -> Result<(PathBuf, Roster)> {
        let people = self.seed("people", None, fill_everybody)?;
        let seed = self.seed("million", Some(&people), fill_million)?;
        let roster = Roster::read(&seed)?;
        Ok((seed, roster))
    }

    /// A kept directory: found and brought up to date, or made, from a copy of `base`.
    fn seed(
        &self,
        name: &str,
        base: Option<&Path>,
        fill: impl FnOnce(&Service, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.home.join(format!("{name}-{VERSION}"));
        match self.refresh(&path) {
            Ok(()) => return Ok(path),
            Err(error) if path.exists() => {
                eprintln!("making {} anew: {error:#}", path.display());
            }
            Err(_) => eprintln!("making {}: this takes a minute, once", path.display()),
        }
        let unfinished = self.home.join(format!("{name}-unfinished"));
        for old in [&path, &unfinished] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("remove {}", old.display()))?;
            }
        }
        match base {
            Some(base) => copy_flat(base, &unfinished)?,
            None => fs::create_dir_all(&unfinished).context("make a directory")?,
        }
        let service = Service::start(&self.binary, &unfinished)?;
        fill(&service, &unfinished)?;
        service.stop()?;
        fs::rename(&unfinished, &path).context("keep the directory")?;
        Ok(path)
    }

    /// Renews the tokens of a kept directory where they end soon.
    fn refresh(&self, path: &Path) -> Result<()> {
        let mut roster = Roster::read(path)?;
        if roster.expires_s > now_s() + TOKENS_LAST_S {
            return Ok(());
        }
        let service = Service::start(&self.binary, path)?;
        let users: Vec<_> = roster.users.into_iter().collect();
        let renewed = together(service.address(), &users, |http, (name, tokens)| {
            let body = json!({ "refresh_token": tokens.refresh_token }).to_string();
            let answer = http.ask("POST", "/v1/auth/refresh", "", &body)?;
            Ok((name.clone(), answer.json::<Tokens>()?))
        });
        service.stop()?;
        roster.users = renewed?.into_iter().collect();
        roster.expires_s = expiry(&roster.users);
        roster.write(path)
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn expiry(users: &BTreeMap<String, Tokens>) -> u64 {
    let lasting = users.values().map(|tokens| tokens.expires_in).min();
    now_s() + lasting.unwrap_or(0)
}

/// Does something for each item, over several connections.
fn together<T: Sync, R: Send>(
    server: SocketAddr,
    items: &[T],
    work: impl Fn(&mut Http, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let connect = || Http::connect(server);
    http::together(connect, CALLERS, items, work)
}

/// Registers accounts; fills the roster with them.
fn register(server: SocketAddr, roster: &mut Roster, names: &[String]) -> Result<()> {
    let registered = together(server, names, |http, name| {
        let body = json!({ "username": name, "password": PASSWORD }).to_string();
        let answer = http.ask("POST", "/v1/auth/register", "", &body)?;
        Ok((name.clone(), answer.json::<Tokens>()?))
    })?;
    roster.users.extend(registered);
    roster.expires_s = expiry(&roster.users);
    Ok(())
}

/// Makes everybody but the idlers, and their channels.
fn people(server: SocketAddr) -> Result<Roster> {
    let mut roster = Roster::default();
    let names: Vec<_> = (0..USERS).map(|n| format!("b{n:04}")).collect();
    register(server, &mut roster, &names)?;
    let mut seats = Vec::new();
    make(server, &mut roster, "room", "b", 0..ROOM, &mut seats)?;
    make(server, &mut roster, "hundred", "b", 0..HUNDRED, &mut seats)?;
    for number in 0..SMALL {
        let members = number * SMALL_MEMBERS..(number + 1) * SMALL_MEMBERS;
        let name = format!("small{number}");
        make(server, &mut roster, &name, "b", members, &mut seats)?;
    }
    join(server, &roster, &seats)?;
    Ok(roster)
}

fn fill_everybody(service: &Service, path: &Path) -> Result<()> {
    let server = service.address();
    let mut roster = people(server)?;
    let names: Vec<_> = (0..IDLERS).map(|n| format!("i{n:04}")).collect();
    register(server, &mut roster, &names)?;
    let mut seats = Vec::new();
    for number in 0..IDLE_ALL {
        let members = 0..if number < IDLE { IDLERS } else { 1 };
        let name = format!("idle{number}");
        make(server, &mut roster, &name, "i", members, &mut seats)?;
    }
    join(server, &roster, &seats)?;
    roster.write(path)
}

/// Makes a channel, and notes who is to join it: all but the first, who owns it.
fn make(
    server: SocketAddr,
    roster: &mut Roster,
    channel: &str,
    prefix: &str,
    members: std::ops::Range<usize>,
    seats: &mut Vec<(String, ChannelId)>,
) -> Result<()> {
    let mut members = members.map(|number| format!("{prefix}{number:04}"));
    let owner = members.next().context("a channel has members")?;
    let body = json!({ "name": channel }).to_string();
    let token = roster.token(&owner)?;
    let answer = Http::connect(server)?.ask("POST", "/v1/channels", token, &body)?;
    let id = answer.json::<Made>()?.id;
    roster.channels.insert(channel.to_owned(), id);
    seats.extend(members.map(|member| (member, id)));
    Ok(())
}

fn join(server: SocketAddr, roster: &Roster, seats: &[(String, ChannelId)]) -> Result<()> {
    together(server, seats, |http, (user, channel)| {
        let path = format!("/v1/channels/{channel}/subscription");
        let answer = http.ask("PUT", &path, roster.token(user)?, "")?;
        answer.json::<serde::de::IgnoredAny>()
    })?;
    Ok(())
}

/// Has every idler join the other idle channels too.
///
/// # Errors
/// The server refuses.
pub fn join_idle(service: &Service, roster: &Roster) -> Result<()> {
    let mut seats = Vec::new();
    for number in IDLE..IDLE_ALL {
        let channel = roster.channel(&format!("idle{number}"))?;
        seats.extend((1..IDLERS).map(|user| (format!("i{user:04}"), channel)));
        let first = roster.token("i0000")?;
        let path = format!("/v1/channels/{channel}/subscription");
        Http::connect(service.address())?.ask("PUT", &path, first, "")?;
    }
    join(service.address(), roster, &seats)
}

fn fill_million(service: &Service, path: &Path) -> Result<()> {
    /// Authors: a history of one author is a rare one.
    const AUTHORS: usize = 8;
    let (server, mut roster) = (service.address(), Roster::read(path)?);
    for (name, messages) in [("long", LONG), ("short", SHORT)] {
        let mut seats = Vec::new();
        make(server, &mut roster, name, "b", 0..AUTHORS, &mut seats)?;
        join(server, &roster, &seats)?;
        let channels = [roster.channel(name)?];
        let mut generator = Generator::new(&[server], service.process().into(), &channels)?;
        let seats: Result<Vec<_>> = (0..AUTHORS)
            .map(|user| {
                let token = roster.token(&format!("b{user:04}"))?;
                Ok(Seat::listener(token, &[0]).sending(0))
            })
            .collect();
        generator.open(&seats?)?;
        let pace = Pace::Window {
            messages: 2_000,
            channels: 1,
        };
        let run = generator.run(&Load {
            warm_up: std::time::Duration::ZERO,
            duration: std::time::Duration::from_secs(600),
            messages_max: messages,
            ..Load::new(pace)
        })?;
        anyhow::ensure!(
            run.faults() == 0,
            "the channel was not filled: {:?}",
            run.faults
        );
        anyhow::ensure!(run.acked_in_all == messages, "the channel was not filled");
    }
    roster.write(path)
}

/// Copies the files of a directory that has no others in it.
fn copy_flat(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).context("copy a directory")?;
        }
    }
    Ok(())
}
