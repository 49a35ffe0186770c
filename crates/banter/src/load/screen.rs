//! What a load shows while it runs: one living line in a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use banter_lab::load::run::Progress;
use banter_lab::load::text;

/// Where there is no terminal, so often is enough.
const PLAIN: Duration = Duration::from_secs(5);

/// Standard error.
pub(crate) struct Screen {
    terminal: bool,
    last: Mutex<Option<Instant>>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            terminal: stderr().is_terminal(),
            last: Mutex::new(None),
        }
    }

    /// A line that stays.
    pub(crate) fn says(&self, line: &str) {
        self.clear();
        eprintln!("{line}");
    }

    /// Takes the living line away.
    pub(crate) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
    }

    /// Shows what happens.
    pub(crate) fn show(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Says(line) => self.living(line, true),
            Progress::Making(what, done, all) => {
                self.living(&format!("{what}: {done} of {all}"), done == all);
            }
            Progress::Second(second, left) => {
                self.living(&text::second(second, *left), *left == 0);
            }
        }
    }

    /// A line that is overwritten by the next one; elsewhere, a line now and then.
    fn living(&self, line: &str, important: bool) {
        if self.terminal {
            eprint!("\r\x1b[2K{line}");
            // Nothing can be done about a terminal that is gone.
            let _ = stderr().flush();
            return;
        }
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if important || last.is_none_or(|last| last.elapsed() >= PLAIN) {
            eprintln!("{line}");
            *last = Some(Instant::now());
        }
    }
}
