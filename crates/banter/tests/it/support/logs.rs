//! What may stand in a server's log: nothing secret, and no warning that the test did not expect.

use super::{MARK, PASSWORD};

/// Warnings that say something about the machine, not about the server.
const ABOUT_THE_MACHINE: [&str; 1] = ["few file descriptors"];

/// Longest piece of text without a space that is no token: a path or an id.
const WORD_MAX: usize = 60;

/// Fails with every line that should not be there. `expected`: texts of warnings that are part of
/// the test; each must have been logged. `allowed`: those that may be.
#[track_caller]
pub(crate) fn check(lines: &[String], expected: &[&str], allowed: &[&str]) {
    let mut found = Vec::new();
    for line in lines {
        if is_secret(line) {
            found.push(format!("a secret: {line}"));
        }
        let known = |text: &&str| line.contains(*text);
        let plain = line.contains("\"level\":\"INFO\"") || line.contains("\"level\":\"DEBUG\"");
        let mut texts = expected.iter().chain(allowed).chain(&ABOUT_THE_MACHINE);
        if !plain && !texts.any(known) {
            found.push(format!("not expected: {line}"));
        }
    }
    for text in expected {
        if !lines.iter().any(|line| line.contains(text)) {
            found.push(format!("missing: {text}"));
        }
    }
    assert!(
        found.is_empty(),
        "in the server's log:\n{}",
        found.join("\n")
    );
}

/// Whether a line shows a token, a password or what somebody wrote.
pub(crate) fn is_secret(line: &str) -> bool {
    let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut words = line.split(|c| !of_token(c));
    line.contains("eyJ")
        || line.contains(PASSWORD)
        || line.contains(MARK)
        || words.any(|word| word.len() > WORD_MAX)
}

#[test]
fn secrets_are_found() {
    let token = "A".repeat(70);
    for line in [
        "{\"token\":\"eyJhbGciOi\"}",
        &format!("refresh {token}"),
        &format!("\"{PASSWORD}\""),
        &format!("{MARK} 7"),
    ] {
        assert!(is_secret(line), "{line}");
    }
    assert!(!is_secret(
        "{\"level\":\"INFO\",\"message\":\"draining\",\"target\":\"banter_server::run\"}"
    ));
}
