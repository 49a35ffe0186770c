//! Where a load is put: on a server that is there, or on one that is started for it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use banter_lab::cluster::Cluster;
use banter_lab::load::fault::{Fault, Harm};
use banter_lab::load::outcome::Outcome;
use banter_lab::load::roster::Roster;
use banter_lab::load::run::{Accounts, Load, Stage};
use banter_lab::load::target::Server;
use banter_lab::load::text;
use banter_lab::load::watch::Watched;
use banter_lab::process::raise_descriptors;
use banter_lab::service::Service;
use banter_protocol::limit;
use banter_server::Settings;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::screen::Screen;
use super::{accounts, cluster};
use crate::config::Location;
use crate::usage::Wrong;
use crate::{data_dir, run_async};

/// Set by the first Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);
/// Files of a server besides its sockets.
const OTHER_FILES: u64 = 200;

/// Which server.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Start a server for it, and end it afterwards
    #[arg(long, conflicts_with_all = ["server", "cluster"])]
    embedded: bool,
    /// A server that is there; its registration must be open
    #[arg(long, value_name = "URL", conflicts_with = "cluster")]
    server: Option<String>,
    /// The cluster of this machine; where none runs, start one for it, and end it afterwards
    #[arg(long)]
    cluster: bool,
    /// Keep the data there, and use its accounts again [default: with --embedded, nowhere; with
    /// --cluster, the cluster that runs, else ./banter-load-cluster, root's in /var/lib]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "server")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    size: cluster::Size,
}

/// Whether somebody wants it to end.
pub(crate) fn is_stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// A load's surroundings.
pub(crate) struct Set {
    pub(crate) stage: Stage,
    pub(crate) roster: Roster,
    own: Own,
    /// Dropped last: the server is gone by then.
    #[expect(dead_code, reason = "kept until everything has ended")]
    scratch: Option<Scratch>,
}

/// What was started for the load.
enum Own {
    Nothing,
    Server(Service),
    Cluster(Cluster),
}

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in the system's folder for what is temporary.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Target {
    /// Whether it says which server.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        self.size.check(self.cluster)?;
        if let Some(url) = &self.server {
            Server::at(url).map_err(|error| Wrong(error.to_string()))?;
        } else if !self.embedded && !self.cluster {
            let which = "--embedded, --server URL or --cluster: say which server";
            return Err(Wrong(which.to_owned()));
        }
        Ok(())
    }

    /// Puts a load on it, with its faults, and ends what was started for it.
    ///
    /// # Errors
    /// The load cannot be put: there is no verdict.
    pub(super) fn put(&self, load: &Load, screen: &Screen) -> Result<Outcome> {
        let mut set = self.set(load.users, screen)?;
        for fault in &load.faults {
            set.knows(fault)?;
        }
        screen.says(&text::plan(load));
        let outcome = load.run(&set.stage, &mut set.roster, &|progress| {
            screen.show(&progress);
        });
        let outcome = set.end(outcome)?;
        screen.clear();
        Ok(outcome)
    }

    /// Prepares everything for so many users.
    ///
    /// # Errors
    /// The server cannot be started, or there are too few descriptors.
    pub(crate) fn set(&self, users: u32, screen: &Screen) -> Result<Set> {
        stop_on_signals()?;
        let program = std::env::current_exe().context("find this program")?;
        let generator = (program.clone(), vec!["load".into(), "--generator".into()]);
        if let Some(url) = &self.server {
            let roster = Roster::open(&kept_for(url)?)?;
            return there(url, roster, generator);
        }
        if self.cluster {
            return self.cluster(users, screen, program, generator);
        }
        check_descriptors(users)?;
        let (dir, scratch) = match &self.data_dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let name = format!("banter-load-{}", std::process::id());
                let dir = std::env::temp_dir().join(name);
                (dir.clone(), Some(Scratch(dir)))
            }
        };
        data_dir::keep_private();
        data_dir::create(&dir)?;
        let dir = dir.canonicalize().context("find the data directory")?;
        let mut roster = Roster::open(&dir.join("load.json"))?;
        screen.says(&format!("starting a server on {}", dir.display()));
        let mut settings = Settings::default();
        settings.server.data_dir.clone_from(&dir);
        let accounts = makes_accounts(settings);
        roster.make(users, &*accounts)?;
        let service = serve(&program, &dir)?;
        let watched = Watched {
            name: "banter".to_owned(),
            role: "serve".to_owned(),
            pid: service.process().as_raw_nonzero().get(),
            admin: Some(service.admin()),
        };
        let stage = Stage {
            server: service.address().into(),
            watched: vec![watched],
            generator,
            stop: &STOP,
            look_again: None,
            queue: None,
            accounts: Some(accounts),
        };
        Ok(Set {
            stage,
            roster,
            own: Own::Server(service),
            scratch,
        })
    }
}

impl Target {
    /// A cluster; accounts go straight into its database.
    fn cluster(
        &self,
        users: u32,
        screen: &Screen,
        program: PathBuf,
        generator: (PathBuf, Vec<String>),
    ) -> Result<Set> {
        check_descriptors(users)?;
        let (directory, runs) = cluster::find(self.data_dir.as_deref())?;
        let root = directory.root().display().to_string();
        let own = if runs {
            cluster::keeps_its_size(&self.size, &directory)?;
            screen.says(&format!("using the cluster that runs in {root}"));
            Own::Nothing
        } else {
            screen.says(&format!("starting a cluster in {root}"));
            Own::Cluster(cluster::start(&program, &directory, &self.size)?)
        };
        let status = crate::cluster::status(&directory)?;
        let location = Location {
            config: Some(directory.config()),
            data_dir: None,
        };
        let settings = location.load(Vec::new())?.settings;
        let roster = Roster::open(&directory.root().join("load.json"))?;
        let url = cluster::url(&status)?;
        let again = move || Ok(cluster::watched(crate::cluster::status(&directory)?));
        let watched = cluster::watched(status);
        let mut set = there(&url, roster, generator)?;
        set.own = own;
        set.stage.watched = watched;
        set.stage.look_again = Some(Rc::new(again));
        set.stage.queue = Some(cluster::asks_queue(settings.clone()));
        set.stage.accounts = Some(makes_accounts(settings));
        Ok(set)
    }
}

/// Whether a process here can have so many sockets.
fn check_descriptors(users: u32) -> Result<()> {
    let files = raise_descriptors();
    let needed = u64::from(users) + OTHER_FILES;
    anyhow::ensure!(
        files >= needed,
        "a server of {users} users needs {needed} open files, and {files} are allowed: raise the \
         hard limit (ulimit -Hn), or use fewer users"
    );
    Ok(())
}

/// Makes accounts in the database of these settings.
fn makes_accounts(settings: Settings) -> Accounts {
    Rc::new(move |names, password| accounts::make(&settings, names, password))
}

/// A server that is there.
fn there(url: &str, roster: Roster, generator: (PathBuf, Vec<String>)) -> Result<Set> {
    let server = Server::at(url)?;
    let reached = server.connect();
    reached.with_context(|| format!("cannot reach {url}"))?;
    Ok(Set {
        stage: Stage {
            server,
            watched: Vec::new(),
            generator,
            stop: &STOP,
            look_again: None,
            queue: None,
            accounts: None,
        },
        roster,
        own: Own::Nothing,
        scratch: None,
    })
}

impl Set {
    /// Whether a fault can be done here.
    ///
    /// # Errors
    /// There is no such process, or nobody would start it again.
    pub(crate) fn knows(&self, fault: &Fault) -> Result<(), Wrong> {
        let watched = &self.stage.watched;
        let names: Vec<_> = watched
            .iter()
            .map(|watched| watched.name.as_str())
            .collect();
        if !names.contains(&fault.name.as_str()) {
            let names = names.join(", ");
            return Err(Wrong(format!("--fault {fault}: there are only {names}")));
        }
        if fault.harm == Harm::Kill && matches!(self.own, Own::Server(_)) {
            let why = "nobody starts it again; a cluster does";
            return Err(Wrong(format!("--fault {fault}: {why}")));
        }
        Ok(())
    }

    /// Ends what was started. A server that does not end well is an error of its own.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn end<T>(self, outcome: Result<T>) -> Result<T> {
        // What went wrong first is the better reason.
        let outcome = outcome?;
        match self.own {
            Own::Nothing => {}
            Own::Server(service) => service.stop()?,
            Own::Cluster(cluster) => cluster.stop()?,
        }
        Ok(outcome)
    }
}

fn serve(program: &Path, dir: &Path) -> Result<Service> {
    Service::start_as(program, dir, |command| {
        // A Ctrl-C is for whoever started it.
        command.process_group(0);
    })
}

/// Where the accounts on a server are remembered: in the user's state directory.
fn kept_for(url: &str) -> Result<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty());
    let state = match (state, std::env::var_os("HOME")) {
        (Some(dir), _) => PathBuf::from(dir),
        (None, Some(home)) => PathBuf::from(home).join(".local/state"),
        (None, None) => anyhow::bail!("neither XDG_STATE_HOME nor HOME is set"),
    };
    let dir = state.join("banter");
    data_dir::keep_private();
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name: String = url
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(limit::CHANNEL_NAME_CHARS_MAX)
        .collect();
    Ok(dir.join(format!("load-{name}.json")))
}

/// The first Ctrl-C ends the load early, with a report of what there is; the second ends all.
fn stop_on_signals() -> Result<()> {
    static ONCE: AtomicBool = AtomicBool::new(false);
    if ONCE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = run_async(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let _ = ready.send(());
            for last in [false, true] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if last {
                    eprintln!("banter: stopped at once; there is no report");
                    std::process::exit(1);
                }
                STOP.store(true, Ordering::Relaxed);
            }
            Ok(())
        });
    });
    is_ready.recv().context("cannot handle signals")
}
