//! The operators' side of a server: how its processes fare.

use std::collections::BTreeMap;

use banter_protocol::time::Timestamp;
use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::http::{Call, Http};

/// An admin address.
#[derive(Debug)]
pub struct Admin {
    http: Http,
}

/// What an admin address tells.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// The process itself, and the others of its cluster.
    pub peers: Vec<Process>,
    /// `false`: how the others fare is not known now.
    #[serde(default = "yes")]
    pub complete: bool,
}

const fn yes() -> bool {
    true
}

/// A process, and its last ten minutes, or as much of them as was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Where people reach it.
    pub name: String,
    /// Which part of the server it is.
    #[serde(default)]
    pub role: String,
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// `serving` or `draining`.
    pub state: String,
    /// The machine that it runs on, or the container: its name there.
    #[serde(default)]
    pub machine: String,
    /// Processor cores that it may use.
    pub cores: u32,
    /// What it needs: `up` or `down`.
    pub dependencies: BTreeMap<String, String>,
    /// When samples were taken, ascending, in seconds since 1970.
    pub at: Vec<i64>,
    /// A value for each sample, by name; none where nothing could be measured. Unknown names are
    /// those of a later version.
    pub series: BTreeMap<String, Vec<Option<f64>>>,
}

impl Admin {
    /// At an `http://` or `https://` address.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(address: &str) -> Result<Self, Error> {
        let http = Http::new(address)?;
        Ok(Self { http })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.http.server()
    }

    /// How the processes fare; only samples later than `after`, in seconds since 1970.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(&self, after: Option<i64>) -> Result<Status, Error> {
        let query = after.map_or_else(String::new, |after| format!("?after={after}"));
        let call = Call {
            method: Method::GET,
            path: &format!("/status.json{query}"),
            token: None,
            key: None,
            body: None,
        };
        let answer = self.http.call(call).await?;
        self.http.read(&answer)
    }
}
