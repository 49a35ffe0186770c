//! What a load shows while it runs: a few living lines in a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use banter_lab::load::run::Progress;
use banter_lab::load::text;

/// Where there is no terminal, so often is enough.
const PLAIN: Duration = Duration::from_secs(5);

/// Standard error.
pub(crate) struct Screen {
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    /// Living lines on the screen.
    lines: usize,
    /// When a plain line was printed last.
    last: Option<Instant>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            terminal: stderr().is_terminal(),
            state: Mutex::new(State {
                lines: 0,
                last: None,
            }),
        }
    }

    /// A line that stays.
    pub(crate) fn says(&self, line: &str) {
        self.clear();
        eprintln!("{line}");
    }

    /// Takes the living lines away.
    pub(crate) fn clear(&self) {
        self.living(&[], false);
    }

    /// Shows what happens.
    pub(crate) fn show(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Says(line) => self.says(line),
            Progress::Making(what, done, all) => {
                self.living(&[format!("{what}: {done} of {all}")], done == all);
            }
            Progress::Second(second, left, names) => {
                let lines = match self.terminal {
                    true => text::second(second, *left, names),
                    false => vec![text::plain(second, *left, names)],
                };
                self.living(&lines, *left == 0);
            }
        }
    }

    /// Lines that are overwritten by the next ones; elsewhere, one line now and then.
    fn living(&self, lines: &[String], important: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.terminal {
            let due = state.last.is_none_or(|last| last.elapsed() >= PLAIN);
            if !lines.is_empty() && (important || due) {
                eprintln!("{}", lines.join("; "));
                state.last = Some(Instant::now());
            }
            return;
        }
        let mut screen = String::new();
        if state.lines > 0 {
            screen.push_str(&format!("\x1b[{}A\x1b[J", state.lines));
        }
        for line in lines {
            // A line that wraps could not be taken away.
            screen.push_str(&format!("\x1b[?7l{line}\x1b[?7h\n"));
        }
        state.lines = lines.len();
        // Nothing can be done about a terminal that is gone.
        let _ = stderr().write_all(screen.as_bytes());
    }
}
