//! The queue between gateways and the database, as the server's own metrics tell it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;

use crate::http::Http;

/// From one look to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// How much waits to be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Depth {
    /// Entries.
    pub entries: f64,
    /// Age of the oldest, in seconds.
    pub oldest_s: f64,
}

/// Asks the server's processes, in the background: one that stands still holds nobody up.
#[derive(Debug)]
pub(super) struct Queue {
    latest: Arc<Mutex<Option<Depth>>>,
}

impl Queue {
    /// Asks these addresses from now on, until this is dropped.
    pub(super) fn follow(admins: Vec<SocketAddr>) -> Self {
        let latest = Arc::new(Mutex::new(None));
        if !admins.is_empty() {
            let latest = Arc::downgrade(&latest);
            std::thread::spawn(move || ask(&admins, &latest));
        }
        Self { latest }
    }

    /// What was told last.
    pub(super) fn depth(&self) -> Option<Depth> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask(admins: &[SocketAddr], latest: &Weak<Mutex<Option<Depth>>>) {
    loop {
        let told = admins.iter().filter_map(|admin| depth(*admin));
        // All tell of the same queue.
        let deepest = told.max_by(|a, b| a.entries.total_cmp(&b.entries));
        let Some(latest) = latest.upgrade() else {
            return;
        };
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = deepest;
        drop(latest);
        std::thread::sleep(PERIOD);
    }
}

fn depth(admin: SocketAddr) -> Option<Depth> {
    let answer = Http::connect(admin).and_then(|mut http| http.ask("GET", "/metrics", "", ""));
    parse(&String::from_utf8_lossy(&answer.ok()?.body))
}

fn parse(text: &str) -> Option<Depth> {
    let value = |name: &str| {
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.reduce(f64::max)
    };
    let unstored = |name: &str| value(name).unwrap_or(0.0);
    // What waits for the log, and what waits in it for the database.
    Some(Depth {
        entries: value("banter_queue_entries")? + unstored("banter_queue_unstored_entries"),
        oldest_s: unstored("banter_queue_oldest_entry_age_seconds")
            .max(unstored("banter_queue_oldest_unstored_age_seconds")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_among_metrics() {
        let text = "# TYPE banter_queue_entries gauge\nbanter_queue_entries 17\n\
                    banter_queue_oldest_entry_age_seconds 0.5\nbanter_other 3\n\
                    banter_queue_unstored_entries 4\n\
                    banter_queue_oldest_unstored_age_seconds 2.5\n";
        let depth = Depth {
            entries: 21.0,
            oldest_s: 2.5,
        };
        assert_eq!(parse(text), Some(depth));
        assert_eq!(parse("banter_other 3\n"), None);
    }
}
