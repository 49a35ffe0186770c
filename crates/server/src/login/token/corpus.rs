//! The fuzzer's kept corpus of tokens, as an ordinary test.

use std::fs;
use std::path::Path;

use crate::login;

#[path = "../../../../../fuzz/checks/token.rs"]
mod check;

#[test]
fn every_kept_input_keeps_the_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/token");
    let (mut inputs, mut accepted) = (0, 0);
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let data = fs::read(&path).unwrap();
        // Shown only when the test fails, and then the last one is the culprit.
        eprintln!("{}", path.display());
        accepted += usize::from(check::check(&data));
        inputs += 1;
    }
    assert!(accepted > 0, "a good token is among them");
    assert!(inputs > 10, "the corpus is kept beside the tests");
}
