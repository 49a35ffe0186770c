//! `banter serve`: the server, until it is told to stop.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, anyhow};
use banter_server::settings::{Origin, Role};
use banter_server::{Listeners, Settings};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Flag, Location};
use crate::data_dir::{self, Lock};
use crate::telemetry;
use crate::usage::Wrong;

/// Connections that the kernel keeps while the server is busy: everybody of a company coming back
/// after a restart. The kernel's own maximum applies on top.
const BACKLOG: u32 = 4096;
/// Below so many file descriptors a server is soon full: two are needed per socket behind a proxy.
const DESCRIPTORS_FEW: u64 = 8192;

/// Start the server, or one part of a cluster
///
/// Without ROLE everything runs in this one process: accounts, channels, messages and the web page,
/// with one SQLite file in the data directory.
///
/// A cluster is any number of these, behind a load balancer; all share a PostgreSQL
/// (database.url) and a Redis (log.url), and start in any order:
///
///   auth      accounts, logins and tokens; needs auth.secret, the same for all
///   gateway   sockets, channels, messages, history and the web page
///   worker    stores what is queued; has no public address
///
/// Once it can serve it prints its URL; until then /readyz tells what it waits for. The first
/// SIGTERM or Ctrl-C lets clients go in peace, a second one ends it at once.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  banter serve                               on this machine only: http://127.0.0.1:8080
  banter serve --listen 0.0.0.0:8080 --registration closed
                                             for the network, accounts by banter user add
  banter serve --public-url https://chat.example --data-dir /var/lib/banter
                                             behind a proxy that speaks TLS
  banter serve gateway --config cluster.toml --listen 10.0.0.7:8080
                                             a gateway of a cluster

Every setting: banter config --default"
)]
pub(crate) struct Serve {
    /// Run only this part of the server: auth, gateway or worker
    #[arg(value_name = "ROLE")]
    role: Option<String>,
    /// Address for people [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address for operators: metrics, health, drain [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Origin that people see in their browser [default: made from the address]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Who may make an account over the network: open or closed [default: open]
    #[arg(long, value_name = "WHO")]
    registration: Option<String>,
    #[command(flatten)]
    location: Location,
}

impl Serve {
    /// Serves until a signal.
    ///
    /// # Errors
    /// When it cannot start; and when a second signal cut the drain short.
    pub(crate) fn run(&self) -> Result<()> {
        let role = self.role()?;
        let effective = self.location.load(self.flags())?;
        effective.settings.suit(role).map_err(anyhow::Error::msg)?;
        telemetry::start(&effective.settings.telemetry)?;
        for warning in effective.settings.warnings(role) {
            tracing::warn!("{warning}");
        }
        let descriptors = raise_descriptors();
        if descriptors < DESCRIPTORS_FEW {
            tracing::warn!(
                descriptors,
                "few file descriptors: raise the hard limit (ulimit -Hn)"
            );
        }
        data_dir::keep_private();
        // The parts of a cluster keep nothing there: any number of them may share a machine.
        let _lock = match role {
            Role::All => {
                data_dir::create(&effective.settings.server.data_dir)?;
                Some(Lock::take(&effective.settings.server.data_dir)?)
            }
            _ => None,
        };
        let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
        runtime.block_on(serve(role, effective.settings))
    }

    fn role(&self) -> Result<Role> {
        let Some(role) = &self.role else {
            return Ok(Role::All);
        };
        let role = role.parse();
        role.map_err(|problem| Wrong(format!("ROLE {problem}")).into())
    }

    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("server.listen", "--listen", &self.listen),
            ("server.admin_listen", "--admin-listen", &self.admin_listen),
            ("server.public_url", "--public-url", &self.public_url),
            ("auth.registration", "--registration", &self.registration),
        ];
        let given = flags.into_iter();
        given
            .filter_map(|(name, flag, text)| Some((name, flag, text.clone()?)))
            .collect()
    }
}

async fn serve(role: Role, settings: Settings) -> Result<()> {
    let public = match role.is_public() {
        true => Some(listen(settings.server.listen, "--listen")?),
        false => None,
    };
    let admin = listen(settings.server.admin_listen, "--admin-listen")?;
    let bound = public.as_ref().unwrap_or(&admin).local_addr();
    let bound = bound.context("cannot listen")?;
    let listeners = Listeners { public, admin };
    let shutdown = CancellationToken::new();
    stop_on_signals(shutdown.clone())?;
    let ready = move || {
        // Whoever started us may have closed its end: that is no reason not to serve.
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{} {}", greeting(role), Origin::of_listener(bound));
        let _ = stdout.flush();
    };
    banter_server::run(role, settings, listeners, shutdown, ready).await?;
    Ok(())
}

/// How the line begins that is printed once the process can serve.
const fn greeting(role: Role) -> &'static str {
    match role {
        Role::All => "Banter serves",
        Role::Auth => "Banter lets people in at",
        Role::Gateway => "Banter gateway serves",
        Role::Worker => "Banter worker works, and tells how at",
    }
}

/// Listens there; `flag` names the setting.
///
/// # Errors
/// When that is not possible, and why.
pub(crate) fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error: std::io::Error| {
        use std::io::ErrorKind;

        let why = match error.kind() {
            ErrorKind::AddrInUse => "another program is using it".to_owned(),
            ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            ErrorKind::PermissionDenied => {
                "not permitted; ports below 1024 need a privilege".to_owned()
            }
            _ => error.to_string(),
        };
        anyhow!("cannot listen on {address}: {why}; choose another address with {flag}")
    })
}

/// The first signal starts the drain, the second ends the process.
fn stop_on_signals(shutdown: CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; once more to stop at once");
        shutdown.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("banter: stopped at once, as asked; clients were not told");
        std::process::exit(1);
    });
    Ok(())
}

/// Raises the limit of open files to what this user may have; returns it.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}
