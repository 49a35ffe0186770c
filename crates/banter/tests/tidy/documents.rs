//! Documents that would otherwise grow apart from the code.

use std::collections::BTreeSet;
use std::fs;

use banter_protocol::close::Close;
use banter_protocol::error::Code;

use crate::assert_tidy;
use crate::tree::root;

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|_| panic!("{path} is missing"))
}

/// The rows of all tables, as cells without decoration.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    lines
        .map(|line| line.trim_matches('|').split('|').map(cell).collect())
        .collect()
}

#[test]
fn the_protocol_document_lists_the_close_codes() {
    let mut documented = BTreeSet::new();
    for row in rows(&document("docs/protocol.md")) {
        if let (Ok(code), Some(name)) = (row[0].parse::<u16>(), row.get(1)) {
            documented.insert((code, name.clone()));
        }
    }
    let known = Close::ALL
        .iter()
        .map(|close| (close.code(), close.reason().to_owned()));
    assert_eq!(documented, known.collect());
}

#[test]
fn the_protocol_document_lists_the_error_codes() {
    let mut documented = BTreeSet::new();
    for row in rows(&document("docs/protocol.md")) {
        let status = row.get(1).and_then(|status| status.parse::<u16>().ok());
        if let Some(status) = status {
            documented.insert((row[0].clone(), status));
        }
    }
    let known = Code::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), code.status()));
    assert_eq!(documented, known.collect());
}

#[test]
fn the_changelog_is_for_those_who_run_it() {
    let mut found = Vec::new();
    let text = document("CHANGELOG.md");
    let kinds = [
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    ];
    let mut releases = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = number + 1;
        if let Some(kind) = line.strip_prefix("### ") {
            if !kinds.contains(&kind) || releases.is_empty() {
                found.push(format!("CHANGELOG.md:{at}: {kind} is none of {kinds:?}"));
            }
        } else if let Some(release) = line.strip_prefix("## ") {
            releases.push(release.to_owned());
        }
    }
    if !text.starts_with("# Changelog\n") {
        found.push("CHANGELOG.md: the first line must be # Changelog".to_owned());
    }
    for (index, release) in releases.iter().enumerate() {
        let dated = release.split_once(" — ").is_some_and(|(version, date)| {
            let numbers = |text: &str, separator| {
                text.split(separator)
                    .filter(|n| n.parse::<u32>().is_ok())
                    .count()
                    == 3
            };
            numbers(version, '.') && numbers(date, '-')
        });
        if !dated && (index, release.as_str()) != (0, "Unreleased") {
            found.push(format!(
                "CHANGELOG.md: {release} is neither Unreleased nor dated"
            ));
        }
    }
    if releases.is_empty() {
        found.push("CHANGELOG.md: it tells of no release".to_owned());
    }
    assert_tidy(&found);
}

#[test]
fn the_set_up_in_the_readme_works() {
    let makefile = document("Makefile");
    let readme = document("README.md");
    for command in ["make run", "make test"] {
        assert!(
            readme.contains(command),
            "README.md does not tell of {command}"
        );
        let target = command.trim_start_matches("make ");
        assert!(
            makefile.contains(&format!("\n{target}:")),
            "no target {target}"
        );
    }
}

/// A file of tests that never starts a cluster needs a reason, and the list of reasons is
/// no longer than it has to be.
#[test]
fn tests_that_leave_a_cluster_out_say_why() {
    let folder = root().join("crates/banter/tests/it");
    let mut left_out = BTreeSet::new();
    for name in files_of_tests(&folder) {
        let text = fs::read_to_string(folder.join(format!("{name}.rs"))).expect("it is there");
        let of_clusters = [
            "for_every_kind",
            "Kind::Cluster",
            "installed()",
            "\"cluster\"",
        ];
        let has_tests = text.contains("#[test]");
        if has_tests && !of_clusters.iter().any(|word| text.contains(word)) {
            left_out.insert(name);
        }
    }
    let mut explained = BTreeSet::new();
    for row in rows(&document("CONTRIBUTING.md")) {
        let names = row[0].split(", ").map(|name| name.trim_matches('`'));
        let are_tests = |name: &&str| folder.join(format!("{name}.rs")).is_file();
        explained.extend(names.filter(are_tests).map(str::to_owned));
    }
    assert_eq!(explained, left_out);
}

/// Paths without their ending, of a folder and those in it.
fn files_of_tests(folder: &std::path::Path) -> Vec<String> {
    let entries = |path: &std::path::Path| {
        let listed = fs::read_dir(path).expect("a folder");
        listed
            .map(|entry| entry.expect("readable").path())
            .collect::<Vec<_>>()
    };
    let mut files = Vec::new();
    for path in entries(folder) {
        let is_support = path.file_name().is_some_and(|name| name == "support");
        match path.is_dir() {
            true if is_support => {}
            true => files.extend(entries(&path)),
            false => files.push(path),
        }
    }
    let name = |path: &std::path::PathBuf| {
        let inside = path.strip_prefix(folder).ok()?;
        inside.with_extension("").to_str().map(str::to_owned)
    };
    files.iter().filter_map(name).collect()
}
