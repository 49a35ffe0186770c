//! The other processes of a cluster, as they write of themselves while somebody looks.

use std::collections::BTreeMap;
use std::time::Duration;

use banter_storage::board::{Asked, Board};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{INTERVAL, Status};
use crate::app::Process;
use crate::clock;

/// Seconds that a note tells of: what a page has missed that looks seldom. Some 4 KiB.
const TOLD: usize = 30;
/// How long it takes until those write who were not asked before, or were not asked for so much.
const FIRST_WORDS: Duration = Duration::from_millis(1_200);

/// Writes a note every second while somebody looks, until the process ends.
pub(super) async fn tell(process: Process, status: Status) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(board) = process.board.get() else {
            continue;
        };
        let told = async {
            let after = match board.asked().await? {
                Asked::Nothing => return Ok(()),
                Asked::News => status.since(TOLD),
                Asked::All => i64::MIN,
            };
            let note = status.of_process(&process, after);
            board.post(&note.to_string()).await?;
            Ok::<_, banter_storage::Error>(())
        };
        if let Err(error) = told.await {
            tracing::debug!(%error, "the other processes are not told");
        }
    }
}

/// What the others have written, by name, without samples up to `after`. `None`: it cannot be read.
pub(super) async fn hear(board: &Board, after: i64) -> Option<Vec<Value>> {
    let told = i64::try_from(TOLD).unwrap_or(i64::MAX);
    // Somebody begins to look, or has slept.
    let lacks = after < clock::now_ms() / 1_000 - told;
    if lacks {
        board.ask_for_all().await.ok()?;
    }
    let mut look = board.look().await.ok()?;
    if look.is_first || lacks {
        sleep(FIRST_WORDS).await;
        look = board.look().await.ok()?;
    }
    let mut others = BTreeMap::new();
    for note in look.notes {
        // One of another version may be of another kind.
        let Ok(mut process) = serde_json::from_str::<Value>(&note) else {
            continue;
        };
        forget(&mut process, after);
        others.insert(process["name"].to_string(), process);
    }
    Some(others.into_values().collect())
}

/// Takes out the samples up to `after`.
fn forget(process: &mut Value, after: i64) {
    let at = process.get_mut("at").and_then(Value::as_array_mut);
    let Some(at) = at else { return };
    let old = at.iter().filter_map(Value::as_i64);
    let old = old.take_while(|at| *at <= after).count();
    at.drain(..old);
    let series = process.get_mut("series").and_then(Value::as_object_mut);
    for (_, values) in series.into_iter().flatten() {
        if let Some(values) = values.as_array_mut() {
            values.drain(..old.min(values.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_is_not_told_again() {
        let mut process = json!({"at": [1, 2, 3], "series": {"a": [1.5, null, 3.5], "b": []}});
        forget(&mut process, 2);
        assert_eq!(process, json!({"at": [3], "series": {"a": [3.5], "b": []}}));
        forget(&mut process, i64::MIN);
        assert_eq!(process["at"], json!([3]));
        let mut strange = json!("a note of another version");
        forget(&mut strange, 2);
    }
}
