//! Holds what clients have seen against the history of a channel.

use std::collections::HashMap;

use serde_json::Value;

use super::talker::Record;

/// Number and message id of every entry of a history, which must be without a gap from `first` on,
/// and hold each message once. Entries other than messages have an empty id.
#[track_caller]
pub(crate) fn dense(history: &[Value], first: u64) -> Vec<(u64, String)> {
    let mut once: HashMap<(&str, &str), u64> = HashMap::new();
    let mut entries = Vec::with_capacity(history.len());
    for (expected, entry) in (first..).zip(history) {
        let seq = entry["seq"].as_u64().expect("a number");
        assert_eq!(seq, expected, "history has a gap or a repeat: {entry}");
        let id = entry["id"].as_str().unwrap_or_default();
        if entry["type"] == "message" {
            let author = entry["author"].as_str().expect("an author");
            if let Some(other) = once.insert((author, id), seq) {
                panic!("one message under the numbers {other} and {seq}: {entry}");
            }
        }
        entries.push((seq, id.to_owned()));
    }
    entries
}

/// Everything that was acked stands in history, under the number that was told.
#[track_caller]
pub(crate) fn acked_is_kept(channel: &str, history: &[(u64, String)], record: &Record) {
    let mut kept = 0;
    for ((of, id), seq) in &record.acked {
        if of == channel {
            kept += 1;
            let at = history.binary_search_by_key(seq, |entry| entry.0);
            let found = at.ok().map(|at| &history[at].1);
            assert_eq!(found, Some(id), "acked under {seq}, and not kept there");
        }
    }
    eprintln!("{channel}: {kept} acked messages are kept");
}

/// Everything that was applied is what history says, from the first to the last, without a gap.
#[track_caller]
pub(crate) fn applied_is_history(channel: &str, history: &[(u64, String)], record: &Record) {
    let Some(applied) = record
        .entries
        .get(channel)
        .filter(|entries| !entries.is_empty())
    else {
        return;
    };
    let first = history.binary_search_by_key(&applied[0].0, |entry| entry.0);
    let first = first.expect("what was applied first is in history");
    let same = history.get(first..first + applied.len());
    assert!(
        same == Some(applied),
        "what was delivered is not what history says"
    );
}

/// A member who came and went has applied what history says, in its order, and left out nothing of
/// a membership: whatever is missing lies behind a `left` of their own, or behind a position that
/// was not resumed because they had left.
#[track_caller]
pub(crate) fn memberships_are_whole(
    channel: &str,
    history: &[Value],
    member: &str,
    record: &Record,
) {
    let applied = record.entries.get(channel).map_or(&[][..], Vec::as_slice);
    let at = |seq: u64| &history[usize::try_from(seq).unwrap() - 1];
    for (seq, id) in applied {
        assert_eq!(
            at(*seq)["id"].as_str().unwrap_or_default(),
            id,
            "not what history says"
        );
    }
    for pair in applied.windows(2) {
        let (last, next) = (pair[0].0, pair[1].0);
        let left = (at(last)["type"] == "left" && at(last)["user"] == member)
            || record.given_up.contains(&(channel.to_owned(), last));
        assert!(
            next == last + 1 || (left && next > last),
            "a gap between {last} and {next}"
        );
    }
}
