//! The directory of a cluster: what lies where.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

/// A log that is longer when its process starts anew is put aside first, in bytes.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Everything that one cluster keeps.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory that was asked for, or the usual one.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self> {
        match given {
            Some(given) => Self::at(given),
            None => Self::named("banter-cluster"),
        }
    }

    /// The one of clusters that are started to be measured: nobody's messages are there.
    pub(crate) fn of_loads() -> Result<Self> {
        Self::named("banter-load-cluster")
    }

    /// A directory of this name where we are; that of root lies where other users get to, for
    /// PostgreSQL does not run as root.
    fn named(name: &str) -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Self::at(&Path::new("/var/lib").join(name));
        }
        Self::at(Path::new(name))
    }

    fn at(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root)
            .with_context(|| format!("cannot use the directory {}", root.display()))?;
        Ok(Self { root })
    }

    /// Makes it, for its owner alone; root's can be passed through, which NGINX's workers and
    /// PostgreSQL need.
    pub(crate) fn create(&self) -> Result<()> {
        let shown = self.root.display();
        let mut make = DirBuilder::new();
        make.recursive(true);
        let made = make
            .mode(0o700)
            .create(&self.root)
            .and_then(|()| {
                if rustix::process::geteuid().is_root() {
                    fs::set_permissions(&self.root, Permissions::from_mode(0o711))?;
                }
                make.create(self.logs())
            })
            .and_then(|()| make.create(self.roles()));
        made.map_err(|error| {
            anyhow!("cannot make the directory {shown} ({error}); choose another with --data-dir")
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What is known of the cluster's processes.
    pub(crate) fn record(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// Where the running supervisor takes orders.
    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The configuration that all roles share; good for other commands too.
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("banter.toml")
    }

    /// A secret of this name.
    pub(crate) fn secret(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.secret"))
    }

    pub(crate) fn redis(&self) -> PathBuf {
        self.root.join("redis")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.root.join("postgres")
    }

    /// Of Prometheus and Alertmanager.
    pub(crate) fn observe(&self) -> PathBuf {
        self.root.join("observe")
    }

    pub(crate) fn nginx(&self) -> PathBuf {
        self.root.join("nginx")
    }

    fn roles(&self) -> PathBuf {
        self.root.join("roles")
    }

    /// The data directory of one of our own processes.
    pub(crate) fn role(&self, name: &str) -> PathBuf {
        self.roles().join(name)
    }

    fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What a process writes to its outputs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }
}

/// Puts a long log aside, over the one before.
pub(crate) fn turn_log(log: &Path) {
    if fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        // A log that stays is a full disk later, not a failure now.
        let _ = fs::rename(log, log.with_extension("log.1"));
    }
}
