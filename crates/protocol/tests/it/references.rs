//! A document that names a test names one that exists.

use std::fs;
use std::path::Path;

/// Documents that say which test shows what.
const DOCUMENTS: [&str; 2] = ["ARCHITECTURE.md", "docs/durability.md"];

#[test]
fn every_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let mut file = "";
        // What stands in backticks: `folder/file.rs::test`, or `::test` of the same file.
        for code in text.split('`').skip(1).step_by(2) {
            let Some((path, test)) = code.split_once(".rs::").or(code.split_once("::")) else {
                continue;
            };
            if code.contains(".rs::") {
                file = path;
            } else if !path.is_empty() {
                continue;
            }
            let source = fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                missing.push(format!("{document}: {file}.rs::{test}"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}
