//! What must hold for any configuration file. The fuzzer and the ordinary tests call it.

use std::path::Path;

use crate::config::Effective;

/// A text is taken or refused; what is said about it is one line.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Such a key would open whatever file the search names.
    if text.contains("_file") {
        return;
    }
    let mut effective = Effective::default();
    if let Err(error) = effective.apply_text(text, Path::new("banter.toml")) {
        let line = format!("{error:#}");
        assert!(
            !line.is_empty() && !line.contains(char::is_control),
            "{line:?}"
        );
    }
}
