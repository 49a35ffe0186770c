//! What the server tells of itself: the queue before the database, and counts of its processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::watch::Watched;
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

/// Asks for the whole queue of a cluster.
pub type AskQueue = Arc<dyn Fn() -> Result<Depth> + Send + Sync>;

/// What the processes counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counted {
    /// Entries that were written to the database since the processes began.
    pub(super) stored: f64,
    /// Sockets of each process that has any, by its name.
    pub(super) sockets: BTreeMap<String, f64>,
}

/// The last answer to a question that is asked in the background: whoever stands still holds
/// nobody up.
#[derive(Debug)]
struct Latest<T>(Arc<Mutex<Option<T>>>);

impl<T: Clone + Send + 'static> Latest<T> {
    fn none() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    /// Asks from now on, until it is dropped.
    fn follow(ask: impl Fn() -> Option<T> + Send + 'static) -> Self {
        let followed = Self::none();
        let weak = Arc::downgrade(&followed.0);
        std::thread::spawn(move || {
            while weak.strong_count() > 0 {
                let told = ask();
                let Some(latest) = weak.upgrade() else {
                    return;
                };
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = told;
                drop(latest);
                std::thread::sleep(PERIOD);
            }
        });
        followed
    }

    fn get(&self) -> Option<T> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.clone()
    }
}

/// Both.
#[derive(Debug)]
pub(super) struct Told {
    queue: Latest<Depth>,
    counted: Latest<Counted>,
}

impl Told {
    /// Asks for the queue, and these processes, from now on.
    pub(super) fn follow(queue: Option<AskQueue>, watched: &[Watched]) -> Self {
        let asked = watched.iter();
        let asked = asked.filter_map(|watched| Some((watched.name.clone(), watched.admin?)));
        let asked: Vec<_> = asked.collect();
        Self {
            queue: queue.map_or_else(Latest::none, |ask| Latest::follow(move || ask().ok())),
            counted: match asked.is_empty() {
                true => Latest::none(),
                false => Latest::follow(move || Some(counted(&asked))),
            },
        }
    }

    /// The queue, as it was told last.
    pub(super) fn queue(&self) -> Option<Depth> {
        self.queue.get()
    }

    /// The counts, as they were told last.
    pub(super) fn counted(&self) -> Option<Counted> {
        self.counted.get()
    }
}

fn counted(asked: &[(String, SocketAddr)]) -> Counted {
    let mut counted = Counted::default();
    for (name, admin) in asked {
        let answer = Http::connect(*admin).and_then(|mut http| http.ask("GET", "/metrics", "", ""));
        let Ok(answer) = answer else { continue };
        let text = String::from_utf8_lossy(&answer.body);
        counted.stored += sum(&text, "banter_worker_messages_persisted_total").unwrap_or(0.0);
        if let Some(sockets) = sum(&text, "banter_gateway_connections") {
            counted.sockets.insert(name.clone(), sockets);
        }
    }
    counted
}

/// The sum of a metric over its labels; `None`: it is not told.
fn sum(text: &str, metric: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(metric)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        rest.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    values.reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE banter_gateway_connections gauge\n\
                    banter_gateway_connections{state=\"ready\"} 17\n\
                    banter_gateway_connections{state=\"going\"} 3\n\
                    banter_gateway_connections_opened_total 99\nbanter_other 3\n";
        assert_eq!(sum(text, "banter_gateway_connections"), Some(20.0));
        assert_eq!(sum(text, "banter_other"), Some(3.0));
        assert_eq!(sum(text, "banter_gateway"), None);
    }

    #[test]
    fn a_question_that_takes_long_holds_nobody_up() {
        let slow = Latest::follow(|| {
            std::thread::sleep(Duration::from_mins(10));
            Some(1)
        });
        assert_eq!(slow.get(), None);
        let quick = Latest::follow(|| Some(2));
        while quick.get().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(quick.get(), Some(2));
    }
}
