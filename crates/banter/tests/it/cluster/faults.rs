//! A short set of the ways to harm a cluster under load; `make faults` tries all of them.

use std::path::Path;

use banter_lab::faults::{ALL, Faults, Found, table};
use tempfile::tempdir;

use super::installed;

#[test]
fn nothing_is_lost_repeated_or_reordered() {
    if !installed() {
        return;
    }
    let dir = tempdir().unwrap();
    let tell = |what: &str| eprintln!("{what}");
    let program = Path::new(env!("CARGO_BIN_EXE_banter"));
    let mut faults = Faults::new(program, dir.path(), &tell);
    let mut found = Vec::new();
    for scenario in ALL.iter().filter(|scenario| scenario.short) {
        tell(scenario.name);
        found.push(faults.run(scenario).unwrap());
    }
    faults.end().unwrap();
    let table = table(&found);
    eprintln!("{table}");
    assert!(found.iter().all(Found::holds), "{table}");
}
