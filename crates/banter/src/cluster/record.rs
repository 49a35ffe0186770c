//! What the next run must know of this one: its processes and ports, in `cluster.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::identity::{self, Identity};
use super::secret;

/// What the file holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// Under which start of the machine the ids hold.
    boot: String,
    pub(crate) url: String,
    pub(crate) ports: BTreeMap<String, u16>,
    /// Those that were started and not yet seen to end.
    processes: BTreeMap<String, Identity>,
}

impl Contents {
    /// What an earlier run left; nothing where there was none.
    pub(crate) fn read(path: &std::path::Path) -> Self {
        // A torn or foreign file names no process, and ports can be chosen afresh.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Processes that still run, and what they left running.
    pub(crate) fn running(&self) -> BTreeMap<String, Vec<Identity>> {
        let mut running = BTreeMap::new();
        if self.boot != identity::boot() {
            return running;
        }
        for (name, identity) in &self.processes {
            let group = identity.group();
            if !group.is_empty() {
                running.insert(name.clone(), group);
            }
        }
        running
    }
}

/// The file, kept up to date. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    path: PathBuf,
    contents: Arc<Mutex<Contents>>,
}

impl Record {
    /// A record without processes.
    pub(crate) fn new(path: PathBuf, url: String) -> Self {
        let contents = Contents {
            boot: identity::boot(),
            url,
            ..Contents::default()
        };
        Self {
            path,
            contents: Arc::new(Mutex::new(contents)),
        }
    }

    /// A process was started.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(crate) fn started(&self, name: &str, identity: Identity) -> Result<()> {
        self.change(|contents| {
            contents.processes.insert(name.to_owned(), identity);
        })
    }

    /// It was seen to end.
    pub(crate) fn ended(&self, name: &str) {
        // A process too many in the file is found to have ended.
        let _ = self.change(|contents| {
            contents.processes.remove(name);
        });
    }

    /// These ports are used.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn ports(&self, ports: BTreeMap<String, u16>) -> Result<()> {
        self.change(|contents| contents.ports = ports)
    }

    fn change(&self, how: impl FnOnce(&mut Contents)) -> Result<()> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        how(&mut contents);
        secret::write(&self.path, &serde_json::to_string_pretty(&*contents)?)
    }
}
