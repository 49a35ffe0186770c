//! Lengths, names and forbidden words in source files.

use crate::assert_tidy;
use crate::tree::{File, files};

/// Beyond this a file has more than one subject.
const FILE_LINES_MAX: usize = 600;
/// Beyond this a function does not fit on a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// The width that rustfmt keeps…
const LINE_CHARS_MAX: usize = 100;
/// …save for text in quotes, which it cannot break.
const TEXT_LINE_CHARS_MAX: usize = 140;

/// Names of drawers: what is put there has no place, and what has no place is not understood.
const DRAWERS: [&str; 9] = [
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils", "stuff",
];

/// A line without what follows `//`; good enough, for no check below minds a cut text.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn sources() -> impl Iterator<Item = File> {
    files().into_iter().filter(|file| file.is("rs"))
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for file in files() {
        let written = ["rs", "js", "css", "html", "py", "sh", "sql"];
        let lines = file.text.lines().count();
        if written.iter().any(|kind| file.is(kind)) && lines > FILE_LINES_MAX {
            let path = &file.path;
            found.push(format!(
                "{path}: {lines} lines; split it at {FILE_LINES_MAX}"
            ));
        }
    }
    assert_tidy(&found);
}

#[test]
fn lines_are_short() {
    let mut found = Vec::new();
    for file in sources() {
        for (number, line) in file.text.lines().enumerate() {
            let chars = line.chars().count();
            let max = if line.contains('"') {
                TEXT_LINE_CHARS_MAX
            } else {
                LINE_CHARS_MAX
            };
            if chars > max {
                found.push(format!("{}:{}: {chars} characters", file.path, number + 1));
            }
        }
    }
    assert_tidy(&found);
}

/// Functions by their lines: the code is formatted, so the closing brace stands under the `fn`.
/// One that expects to be too long, and says why, is left out.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let mut functions = Vec::new();
    let lines: Vec<_> = text.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = &line[..line.len() - trimmed.len()];
        let words: Vec<_> = trimmed.split(' ').collect();
        let Some(at) = words.iter().position(|word| *word == "fn") else {
            continue;
        };
        if start > 0 && lines[start - 1].contains("clippy::too_many_lines, reason") {
            continue;
        }
        let qualifiers = [
            "pub",
            "pub(crate)",
            "pub(super)",
            "const",
            "async",
            "extern",
        ];
        if !words[..at].iter().all(|word| qualifiers.contains(word)) {
            continue;
        }
        let closing = format!("{indent}}}");
        let end = lines[start..].iter().position(|line| **line == closing);
        let one_line = line.ends_with('}') || line.ends_with(';');
        if let (false, Some(length)) = (one_line, end) {
            functions.push((start + 1, length + 1));
        }
    }
    functions
}

#[test]
fn functions_are_short() {
    let mut found = Vec::new();
    for file in sources() {
        for (line, length) in functions(&file.text) {
            if length > FUNCTION_LINES_MAX {
                found.push(format!(
                    "{}:{line}: a function of {length} lines",
                    file.path
                ));
            }
        }
    }
    assert_tidy(&found);
}

#[test]
fn modules_say_what_they_are() {
    let mut found = Vec::new();
    for file in sources() {
        let first = file.text.lines().find(|line| !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//! ")) {
            found.push(format!(
                "{}: the first line must be a //! sentence",
                file.path
            ));
        }
    }
    assert_tidy(&found);
}

#[test]
fn nothing_lies_in_a_drawer() {
    let mut found = Vec::new();
    for file in files() {
        let folders = file.path.split('/').rev().skip(1);
        let mut names = folders.chain([file.stem()]);
        if names.any(|name| DRAWERS.contains(&name)) {
            found.push(format!("{}: name it after what it does", file.path));
        }
    }
    assert_tidy(&found);
}

#[test]
fn every_source_file_is_compiled() {
    let mut found = Vec::new();
    let all: Vec<_> = sources().collect();
    for file in all.iter().filter(|file| file.path.contains("/src/")) {
        let stem = file.stem();
        let (folder, _) = file.path.rsplit_once('/').expect("it lies in a folder");
        if ["lib", "main"].contains(&stem) || folder.ends_with("/bin") {
            continue;
        }
        let parents = [
            format!("{folder}.rs"),
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
        ];
        let declared = |parent: &&File| {
            let lines = parent.text.lines().map(code);
            let mut words = lines.map(|line| line.trim().trim_end_matches(';'));
            words.any(|line| {
                line.rsplit_once("mod ")
                    .is_some_and(|(_, name)| name == stem)
            })
        };
        let mut parents = all.iter().filter(|parent| parents.contains(&parent.path));
        if !parents.any(|parent| declared(&parent)) {
            found.push(format!("{}: no module declares it", file.path));
        }
    }
    assert_tidy(&found);
}

#[test]
fn crates_keep_to_their_side() {
    // A word, the sources that may say it, and why no others.
    let rules: &[(&[&str], &[&str], &str)] = &[
        (
            &["sqlx::", "redis::"],
            &["crates/storage/"],
            "only storage names a database",
        ),
        (
            &["axum::", "utoipa_axum::"],
            &["crates/server/"],
            "only server answers HTTP",
        ),
        (
            &["banter_server::"],
            &["crates/server/", "crates/banter/", "fuzz/"],
            "client and lab know the server from outside only",
        ),
    ];
    let mut found = Vec::new();
    for file in sources().filter(|file| !file.path.contains("/tests/tidy/")) {
        for (words, homes, why) in rules {
            if homes.iter().any(|home| file.path.starts_with(home)) {
                continue;
            }
            for (number, line) in file.text.lines().enumerate() {
                if words.iter().any(|word| code(line).contains(word)) {
                    found.push(format!("{}:{}: {why}", file.path, number + 1));
                }
            }
        }
    }
    assert_tidy(&found);
}

#[test]
fn the_protocol_is_pure() {
    let impure = [
        "async ",
        ".await",
        "tokio",
        "SystemTime",
        "Instant",
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "now_v7",
        "now_utc",
    ];
    let mut found = Vec::new();
    for file in sources().filter(|file| file.path.starts_with("crates/protocol/src/")) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = impure.iter().find(|word| code(line).contains(**word)) {
                let at = number + 1;
                found.push(format!(
                    "{}:{at}: {word} is I/O, a clock or async",
                    file.path
                ));
            }
        }
    }
    assert_tidy(&found);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"]].map(|halves| halves.concat());
    let mut found = Vec::new();
    for file in sources() {
        for (number, line) in file.text.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
            if words.any(|word| marks.iter().any(|mark| mark == word)) {
                found.push(format!(
                    "{}:{}: do it, or file an issue",
                    file.path,
                    number + 1
                ));
            }
            if line.trim_start().starts_with("#[allow(") {
                let at = number + 1;
                found.push(format!("{}:{at}: use #[expect(…, reason)]", file.path));
            }
        }
    }
    assert_tidy(&found);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let places = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            for (at, _) in places
                .iter()
                .flat_map(|place| line.match_indices(place.as_str()))
            {
                // Within a longer path it is a folder of that name, not the machine's.
                let before = line[..at].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && !".-_}".contains(c)) {
                    found.push(format!("{}:{}: an absolute path", file.path, number + 1));
                }
            }
        }
    }
    assert_tidy(&found);
}
