//! What is known of each process, as far back as the terminal may show it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use banter_client::Error;
use banter_client::admin::{Admin, Process, Status};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Samples that are kept: as many as a server keeps.
const KEPT: usize = 600;
/// Samples at the end of a series that stand for "now".
const RECENT: usize = 3;

/// The addresses that are asked, and what they said.
#[derive(Debug)]
pub(super) struct Fleet {
    addresses: Vec<Asked>,
    processes: BTreeMap<String, Process>,
    /// Of whom each address told last, by its place.
    told: BTreeMap<usize, BTreeSet<String>>,
    /// Whether each address told of all that there are, by its place.
    complete: BTreeMap<usize, bool>,
    /// Who was told of and is not any more, without having drained.
    gone: BTreeSet<String>,
}

#[derive(Debug)]
struct Asked {
    admin: std::sync::Arc<Admin>,
    /// Why there was no answer the last time.
    silence: Option<String>,
}

impl Fleet {
    /// Nothing is known of these addresses yet.
    ///
    /// # Errors
    /// When one is no address.
    pub(super) fn new(addresses: &[&str]) -> Result<Self, Error> {
        let asked = |address: &&str| {
            Ok(Asked {
                admin: std::sync::Arc::new(Admin::new(address)?),
                silence: Some(format!("{address} was not asked yet")),
            })
        };
        Ok(Self {
            addresses: addresses.iter().map(asked).collect::<Result<_, Error>>()?,
            processes: BTreeMap::new(),
            told: BTreeMap::new(),
            complete: BTreeMap::new(),
            gone: BTreeSet::new(),
        })
    }

    /// Asks every address what is new, all at once; waits no longer than `patience`.
    pub(super) async fn look(&mut self, patience: Duration) {
        let newest = self.processes.values().filter_map(|it| it.at.last());
        let after = newest.min().copied();
        let mut answers = JoinSet::new();
        for (index, asked) in self.addresses.iter().enumerate() {
            let admin = asked.admin.clone();
            answers.spawn(async move {
                let answer = timeout(patience, admin.status(after)).await;
                let silent = || format!("cannot reach {}: no answer in time", admin.address());
                (
                    index,
                    answer.map_or_else(|_| Err(silent()), |it| it.map_err(|e| e.to_string())),
                )
            });
        }
        while let Some(Ok((index, answer))) = answers.join_next().await {
            let known = match answer {
                Ok(status) => {
                    self.take(index, status);
                    None
                }
                Err(why) => Some(why),
            };
            self.addresses[index].silence = known;
        }
    }

    /// Why nobody answers, where nobody does.
    pub(super) fn silence(&self) -> Option<&str> {
        let all: Option<Vec<_>> = self
            .addresses
            .iter()
            .map(|it| it.silence.as_deref())
            .collect();
        all.and_then(|all| all.first().copied())
    }

    /// Why these addresses did not answer the last time.
    pub(super) fn silences(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().filter_map(|it| it.silence.as_deref())
    }

    /// The processes, by name.
    pub(super) fn processes(&self) -> impl ExactSizeIterator<Item = &Process> {
        self.processes.values()
    }

    /// Whether every address tells of all processes that there are.
    pub(super) fn is_complete(&self) -> bool {
        self.silences().next().is_none() && self.complete.values().all(|complete| *complete)
    }

    /// Processes that have gone without a word.
    pub(super) fn gone(&self) -> impl Iterator<Item = &str> {
        self.gone.iter().map(String::as_str)
    }

    /// Takes what an address tells.
    fn take(&mut self, address: usize, status: Status) {
        let names: BTreeSet<_> = status.peers.iter().map(|it| it.name.clone()).collect();
        self.gone.retain(|name| !names.contains(name));
        self.complete.insert(address, status.complete);
        if status.complete {
            let before = self.told.insert(address, names).unwrap_or_default();
            for name in before {
                let is_told_of = self.told.values().any(|names| names.contains(&name));
                let lost = (!is_told_of)
                    .then(|| self.processes.remove(&name))
                    .flatten();
                if lost.is_some_and(|process| process.state == "serving") {
                    self.gone.insert(name);
                }
            }
        }
        for fresh in status.peers {
            match self.processes.get_mut(&fresh.name) {
                Some(known) if known.started_at == fresh.started_at => extend(known, fresh),
                _ => {
                    self.processes.insert(fresh.name.clone(), fresh);
                }
            }
        }
    }

    /// The newest figures of each process, as one object each.
    pub(super) fn lines(&self) -> Vec<Value> {
        let line = |process: &Process| {
            let mut line = json!({
                "name": process.name,
                "state": process.state,
                "version": process.version,
                "pid": process.pid,
                "started_at": process.started_at,
                "machine": process.machine,
                "cores": process.cores,
                "dependencies": process.dependencies,
                "at": process.at.last(),
            });
            for (name, values) in &process.series {
                line[name] = json!(values.last().copied().flatten());
            }
            line
        };
        self.processes().map(line).collect()
    }
}

fn extend(known: &mut Process, fresh: Process) {
    let last = known.at.last().copied().unwrap_or(i64::MIN);
    let first = fresh.at.partition_point(|at| *at <= last);
    let (at, series) = (
        std::mem::take(&mut known.at),
        std::mem::take(&mut known.series),
    );
    let (new_at, new_series) = (fresh.at.clone(), fresh.series.clone());
    *known = fresh;
    known.at = at;
    known.at.extend(new_at.get(first..).unwrap_or_default());
    known.series = series;
    for (name, values) in new_series {
        let series = known.series.entry(name).or_default();
        series.extend(values.get(first..).unwrap_or_default());
        series.drain(..series.len().saturating_sub(KEPT));
    }
    let surplus = known.at.len().saturating_sub(KEPT);
    known.at.drain(..surplus);
}

/// The value of now: the newest of the last samples that has one.
pub(super) fn newest(process: &Process, name: &str) -> Option<f64> {
    let values = process.series.get(name)?;
    values.iter().rev().take(RECENT).find_map(|value| *value)
}

/// The values of several processes at the last `count` seconds: added, or the `worst` one.
pub(super) fn together<'a>(
    processes: impl Iterator<Item = &'a Process>,
    name: &str,
    worst: bool,
    count: usize,
) -> Vec<Option<f64>> {
    let mut all = vec![None; count];
    for process in processes {
        let values = process.series.get(name).map_or(&[][..], Vec::as_slice);
        let seconds = all.iter_mut().rev().zip(values.iter().rev());
        for (sum, value) in seconds {
            *sum = match (*sum, *value) {
                (Some(sum), Some(value)) if worst => Some(f64::max(sum, value)),
                (Some(sum), Some(value)) => Some(sum + value),
                (sum, value) => sum.or(value),
            };
        }
    }
    all
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A process whose samples end with these values.
    pub(in super::super) fn process(name: &str, at: i64, series: &[(&str, &[f64])]) -> Process {
        let count = series.first().map_or(0, |(_, values)| values.len());
        let from = at + 1 - i64::try_from(count).unwrap();
        Process {
            name: name.to_owned(),
            role: "all".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 7,
            started_at: serde_json::from_value(json!("2026-11-24T20:34:10.007Z")).unwrap(),
            state: "serving".to_owned(),
            machine: "here".to_owned(),
            cores: 2,
            dependencies: [("database".to_owned(), "up".to_owned())].into(),
            at: (from..=at).collect(),
            series: series
                .iter()
                .map(|(name, values)| {
                    let values = values.iter().map(|it| it.is_finite().then_some(*it));
                    ((*name).to_owned(), values.collect())
                })
                .collect(),
        }
    }

    fn told(peers: Vec<Process>) -> Status {
        Status {
            peers,
            complete: true,
        }
    }

    pub(in super::super) fn fleet(processes: Vec<Process>) -> Fleet {
        let mut fleet = Fleet::new(&[]).unwrap();
        fleet.take(0, told(processes));
        fleet
    }

    #[test]
    fn samples_are_taken_once_and_a_restart_begins_anew() {
        let mut fleet = fleet(vec![process("a", 3, &[("messages", &[1.0, 2.0, 3.0])])]);
        let again = process("a", 5, &[("messages", &[3.0, 4.0, 5.0])]);
        fleet.take(0, told(vec![again]));
        let known = fleet.processes().next().unwrap();
        assert_eq!(known.at, [1, 2, 3, 4, 5]);
        assert_eq!(known.series["messages"].len(), 5);
        assert_eq!(newest(known, "messages"), Some(5.0));
        let mut restarted = process("a", 9, &[("messages", &[0.0])]);
        restarted.started_at = serde_json::from_value(json!("2026-11-25T20:34:10.007Z")).unwrap();
        fleet.take(0, told(vec![restarted]));
        assert_eq!(fleet.processes().next().unwrap().at, [9]);
    }

    #[test]
    fn who_goes_without_a_word_is_missed() {
        let of = |name| process(name, 3, &[("x", &[1.0])]);
        let mut fleet = fleet(vec![of("a"), of("b"), of("c")]);
        let mut leaving = of("c");
        leaving.state = "draining".to_owned();
        fleet.take(0, told(vec![of("a"), of("b"), leaving]));
        let unknown = Status {
            peers: vec![of("a")],
            complete: false,
        };
        fleet.take(0, unknown);
        assert_eq!((fleet.processes().len(), fleet.gone().count()), (3, 0));
        fleet.take(0, told(vec![of("a")]));
        assert_eq!(fleet.processes().len(), 1);
        assert_eq!(fleet.gone().collect::<Vec<_>>(), ["b"]);
        fleet.take(0, told(vec![of("a"), of("b")]));
        assert_eq!((fleet.processes().len(), fleet.gone().count()), (2, 0));
    }

    #[test]
    fn processes_are_added_or_the_worst_is_taken() {
        let one = process("a", 3, &[("x", &[1.0, f64::NAN, 3.0])]);
        let two = process("b", 3, &[("x", &[5.0, 6.0])]);
        let both = [one, two];
        let sum = together(both.iter(), "x", false, 4);
        assert_eq!(sum, [None, Some(1.0), Some(5.0), Some(9.0)]);
        let worst = together(both.iter(), "x", true, 2);
        assert_eq!(worst, [Some(5.0), Some(6.0)]);
    }
}
