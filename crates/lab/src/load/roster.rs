//! The accounts of loads: made once for each server or data directory, and used again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::crowd::Crowd;
use super::profile::Profile;
use super::target::Server;
use crate::http::{Answer, Http, together};

/// Changes whenever a roster's form does.
const VERSION: u32 = 1;
/// Calls at once that hash a password: they keep every core busy.
const REGISTERING: usize = 8;
/// Other calls at once: the server takes writes together.
const CALLING: usize = 64;
/// Whoever is refused for being too fast waits so long.
const PAUSE: Duration = Duration::from_secs(2);
/// How often one call is tried that was refused for being too fast.
const TRIES: u32 = 300;
/// A token must last longer than the load by this.
const MARGIN_S: u64 = 120;

/// Makes accounts with one password in a data directory that no server uses; returns a refresh
/// token for each.
pub type MakeAccounts<'a> = &'a dyn Fn(&[String], &str) -> Result<Vec<String>>;

/// A user of loads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) refresh_token: String,
    /// Whether a load has used it up.
    #[serde(default)]
    pub(super) is_spent: bool,
    #[serde(default)]
    pub(super) access_token: String,
    /// When the access token ends: seconds since 1970.
    #[serde(default)]
    pub(super) expires_s: u64,
}

/// All users of loads on a server, and the channels made for each kind of load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Roster {
    version: u32,
    /// What distinguishes these accounts from those of other rosters.
    tag: String,
    pub(super) password: String,
    pub(super) users: Vec<User>,
    channels: BTreeMap<String, Vec<String>>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

/// How far the making of something is.
pub(super) struct Step<'a> {
    pub(super) what: &'a str,
    pub(super) say: &'a (dyn Fn(&str, usize, usize) + Sync),
    /// Set when somebody wants it to end.
    pub(super) stop: &'a AtomicBool,
}

impl Step<'_> {
    /// Tells at every hundredth of the way.
    fn done(&self, count: &AtomicUsize, all: usize) {
        let done = count.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of((all / 100).max(1)) || done == all {
            (self.say)(self.what, done, all);
        }
    }

    /// Asks, and waits where the server says that it was too fast.
    fn ask(
        &self,
        http: &mut Http,
        (method, path): (&str, &str),
        token: &str,
        body: &str,
    ) -> Result<Answer> {
        for _ in 0..TRIES {
            if self.stop.load(Ordering::Relaxed) {
                bail!("stopped");
            }
            let answer = http.ask(method, path, token, body)?;
            if !matches!(answer.status, 429 | 503) {
                return Ok(answer);
            }
            std::thread::sleep(PAUSE);
        }
        bail!("the server refuses {path} for being too fast, again and again")
    }
}

impl Roster {
    /// The one that is kept there, or a new one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        if path.exists() {
            let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
            match serde_json::from_slice::<Self>(&text) {
                Ok(roster) if roster.version == VERSION => {
                    return Ok(Self {
                        path: path.to_owned(),
                        ..roster
                    });
                }
                _ => {}
            }
        }
        // Nobody else is to use these accounts: neither name nor password can be guessed.
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|error| anyhow!("no randomness: {error}"))?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            version: VERSION,
            tag: random[..6].to_owned(),
            password: random[6..].to_owned(),
            users: Vec::new(),
            channels: BTreeMap::new(),
            path: path.to_owned(),
        })
    }

    /// Keeps it.
    fn write(&self) -> Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let shown = self.path.display();
        let draft = self.path.with_extension("tmp");
        let text = serde_json::to_vec(self).context("write the accounts of the load")?;
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600);
        file.open(&draft)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::rename(&draft, &self.path))
            .with_context(|| format!("cannot write {shown}"))
    }

    fn missing(&self, users: u32) -> Vec<String> {
        let all = self.users.len()..users as usize;
        all.map(|number| format!("load-{}-{number:05}", self.tag))
            .collect()
    }

    /// Makes accounts that are missing, without a server.
    ///
    /// # Errors
    /// Whatever `make` meets.
    pub fn make(&mut self, users: u32, make: MakeAccounts<'_>) -> Result<()> {
        let names = self.missing(users);
        if names.is_empty() {
            return Ok(());
        }
        let tokens = make(&names, &self.password)?;
        self.users.extend(
            names
                .into_iter()
                .zip(tokens)
                .map(|(name, refresh_token)| User {
                    name,
                    refresh_token,
                    is_spent: false,
                    access_token: String::new(),
                    expires_s: 0,
                }),
        );
        self.write()
    }

    /// Makes accounts that are missing by registering them.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn register(&mut self, server: &Server, users: u32, step: &Step<'_>) -> Result<()> {
        let names = self.missing(users);
        if names.is_empty() {
            return Ok(());
        }
        let (password, count) = (&self.password, AtomicUsize::new(0));
        let made = together(
            || server.connect(),
            REGISTERING,
            &names,
            |http, name| {
                let body = json!({ "username": name, "password": password }).to_string();
                let answer = step.ask(http, ("POST", "/v1/auth/register"), "", &body)?;
                step.done(&count, names.len());
                let tokens = answer.json().context("register an account")?;
                Ok(user(name, tokens))
            },
        )?;
        self.users.extend(made);
        self.write()
    }

    /// Renews tokens that do not last for the load.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn renew(
        &mut self,
        server: &Server,
        users: u32,
        lasting: Duration,
        step: &Step<'_>,
    ) -> Result<()> {
        let needed = now_s() + lasting.as_secs() + MARGIN_S;
        let old: Vec<usize> = (0..users as usize)
            .filter(|number| self.users[*number].expires_s < needed)
            .collect();
        let (password, all, count) = (&self.password, &self.users, AtomicUsize::new(0));
        let renewed = together(
            || server.connect(),
            REGISTERING,
            &old,
            |http, number| {
                let known = &all[*number];
                let refresh = json!({ "refresh_token": known.refresh_token }).to_string();
                let mut answer = None;
                if !known.is_spent {
                    let renewed = step.ask(http, ("POST", "/v1/auth/refresh"), "", &refresh)?;
                    answer = Some(renewed).filter(|answer| answer.status != 401);
                }
                let body = json!({ "username": known.name, "password": password });
                let answer = match answer {
                    Some(answer) => answer,
                    None => step.ask(http, ("POST", "/v1/auth/login"), "", &body.to_string())?,
                };
                step.done(&count, old.len());
                let tokens = answer.json().with_context(|| {
                    let path = self.path.display();
                    format!(
                        "log {} in; if the server is a new one, remove {path}",
                        known.name
                    )
                })?;
                Ok(user(&known.name, tokens))
            },
        )?;
        for (number, user) in old.into_iter().zip(renewed) {
            // Generators renew what does not last: used again, it would pass for stolen.
            let is_spent = user.expires_s < needed;
            self.users[number] = User { is_spent, ..user };
        }
        self.write()
    }

    /// The ids of a load's channels, made and joined where that was not done before.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn channels(
        &mut self,
        server: &Server,
        profile: &Profile,
        users: u32,
        step: &Step<'_>,
    ) -> Result<(Crowd, Vec<String>)> {
        let crowd = Crowd::new(&profile.channels, users);
        let key = format!("{} {:?}", users, profile.channels);
        let key = format!("{:08x}", crate::audit::content(key.as_bytes()) >> 32);
        if let Some(ids) = self.channels.get(&key) {
            return Ok((crowd, ids.clone()));
        }
        let all = &self.users;
        let token = |number: u32| &all[number as usize].access_token;
        let numbered: Vec<_> = crowd.channels.iter().enumerate().collect();
        let tag = format!("load-{}-{key}-{}", self.tag, now_s() % 100_000);
        let ids = together(
            || server.connect(),
            CALLING,
            &numbered,
            |http, (number, members)| {
                let owner = members.first().context("a channel has members")?;
                let body =
                    json!({ "name": format!("{tag}-{number}"), "private": false }).to_string();
                let answer = step.ask(http, ("POST", "/v1/channels"), token(*owner), &body)?;
                Ok(answer.json::<Made>().context("make a channel")?.id)
            },
        )?;
        let joins = crowd.channels.iter().zip(&ids).flat_map(|(members, id)| {
            let others = members.iter().skip(1);
            others.map(move |member| (*member, id))
        });
        // Those of one channel at the same time are written together; of all, they wait.
        let joins: Vec<_> = joins.collect();
        let count = AtomicUsize::new(0);
        together(
            || server.connect(),
            CALLING,
            &joins,
            |http, (member, id)| {
                let path = format!("/v1/channels/{id}/subscription");
                let answer = step.ask(http, ("PUT", &path), token(*member), "")?;
                step.done(&count, joins.len());
                answer
                    .json::<serde::de::IgnoredAny>()
                    .context("join a channel")
            },
        )?;
        self.channels.insert(key, ids.clone());
        self.write()?;
        Ok((crowd, ids))
    }
}

fn user(name: &str, tokens: Tokens) -> User {
    User {
        name: name.to_owned(),
        refresh_token: tokens.refresh_token,
        is_spent: false,
        access_token: tokens.access_token,
        expires_s: now_s() + tokens.expires_in,
    }
}

pub(super) fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
