//! The fuzzer's kept corpus of frames, as an ordinary test.

use std::fs;
use std::path::Path;

#[path = "../../../../fuzz/checks/frames.rs"]
mod frames;

#[test]
fn every_kept_input_keeps_the_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frames");
    let mut inputs = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let data = fs::read(&path).unwrap();
        // Shown only when the test fails, and then the last one is the culprit.
        eprintln!("{}", path.display());
        frames::check(&data);
        inputs += 1;
    }
    assert!(inputs > 50, "the corpus is kept beside the tests");
}
