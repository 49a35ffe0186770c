//! Reading back by number.

use serde_json::{Value, json};

use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::http::Request;
use crate::support::message::{fresh_id, words};

for_every_kind!(
    pages_reach_to_the_ends_and_no_further,
    history_is_for_members
);

fn seqs(page: &Value) -> Vec<u64> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["seq"].as_u64().unwrap())
        .collect()
}

/// Queries in a channel of 60 entries; first and last number of the page (none: 0 and 0), and
/// whether there is more below and above.
const PAGES: [(&str, [u64; 2], [bool; 2]); 20] = [
    ("", [11, 60], [true, false]),
    ("limit=3", [58, 60], [true, false]),
    ("limit=60", [1, 60], [false, false]),
    ("limit=1000", [1, 60], [false, false]),
    ("before=61", [11, 60], [true, false]),
    ("before=4", [1, 3], [false, true]),
    ("before=4&limit=2", [2, 3], [true, true]),
    ("before=1", [0, 0], [false, true]),
    ("before=0", [0, 0], [false, true]),
    ("before=62", [11, 60], [true, false]),
    ("before=9007199254740991&limit=2", [59, 60], [true, false]),
    ("after=0", [1, 50], [false, true]),
    ("after=0&limit=60", [1, 60], [false, false]),
    ("after=57", [58, 60], [true, false]),
    ("after=57&limit=2", [58, 59], [true, true]),
    ("after=60", [0, 0], [true, false]),
    ("after=61", [0, 0], [true, false]),
    ("after=9007199254740991", [0, 0], [true, false]),
    ("around=30&limit=1", [30, 30], [true, true]),
    ("around=61&limit=4", [57, 60], [true, false]),
];

/// The same around a number: how many entries, and one that is among them. Which side gets more is
/// the server's choice.
const AROUND: [(&str, usize, u64); 6] = [
    ("around=30&limit=5", 5, 30),
    ("around=30&limit=4", 4, 30),
    ("around=1&limit=4", 4, 1),
    ("around=60&limit=4", 4, 60),
    ("around=0&limit=3", 3, 1),
    ("around=9007199254740991&limit=3", 3, 60),
];

const BAD_QUERIES: [&str; 13] = [
    "before=-1",
    "after=-1",
    "around=x",
    "before=",
    "after=1.5",
    "before=1&after=2",
    "after=1&around=1",
    "limit=0",
    "limit=-5",
    "before=9007199254740992",
    "before=99999999999999999999",
    "after=+1",
    "after=1e3",
];

fn pages_reach_to_the_ends_and_no_further(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    for number in 2..=60 {
        socket.tell(&channel, &fresh_id(), &words(number));
    }
    for (query, [first, last], [older, newer]) in PAGES {
        let page = ann.page(&channel, query);
        let expected: Vec<u64> = if last == 0 {
            Vec::new()
        } else {
            (first..=last).collect()
        };
        assert_eq!(seqs(&page), expected, "{query}");
        let more = [&page["has_older"], &page["has_newer"]];
        assert_eq!(more, [&json!(older), &json!(newer)], "{query}");
        assert_eq!(page["complete"], true);
    }
    for (query, length, included) in AROUND {
        let found = seqs(&ann.page(&channel, query));
        assert_eq!(found.len(), length, "{query}: {found:?}");
        assert!(
            found.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{query}: {found:?}"
        );
        assert!(found.contains(&included), "{query}: {found:?}");
    }
    for bad in BAD_QUERIES {
        let path = format!("/v1/channels/{channel}/history?{bad}");
        ann.call(Request::get(path))
            .refused(422, "parameter_invalid");
    }
}

fn history_is_for_members(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    ann.post(&channel, "a", &words("before you came")).ok(201);
    let path = format!("/v1/channels/{channel}/history");
    bob.call(Request::get(&path)).refused(403, "not_a_member");
    bob.join(&channel);
    // The whole history, from before the join too.
    assert_eq!(bob.history(&channel), ann.history(&channel));
    bob.leave(&channel);
    bob.call(Request::get(&path)).refused(403, "not_a_member");
}
