//! Lines in, lines out: through a line editor in a terminal, else through pipes.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _, stdin, stdout};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context as _, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{Config, DefaultEditor, ExternalPrinter as _};
use tokio::sync::mpsc;
use unicode_width::UnicodeWidthStr as _;

/// Texts on their way to the line editor.
const PRINTS: usize = 64;
/// Texts that may wait for the terminal before no more events are taken.
const BACKLOG_MAX: usize = 1000;

/// Where the user sits.
pub(super) struct Screen {
    /// What was typed, line by line; closed at the end of the input.
    typed: mpsc::Receiver<String>,
    editor: Option<Editor>,
    backlog: VecDeque<String>,
}

/// The line editor lives in a thread of its own, and so does what prints above its line: it may
/// have to wait until the next line is edited.
struct Editor {
    prompts: SyncSender<String>,
    prints: mpsc::Sender<String>,
    /// The terminal as it was before.
    before: Option<Termios>,
}

impl Screen {
    /// Whether the user sits at a terminal.
    pub(super) fn is_terminal() -> bool {
        stdin().is_terminal() && stdout().is_terminal()
    }

    /// The terminal, or standard input and output.
    pub(super) fn open() -> Result<Self> {
        let (give, typed) = mpsc::channel(1);
        let editor = if Self::is_terminal() {
            Some(Editor::open(give)?)
        } else {
            std::thread::spawn(move || {
                for line in stdin().lines().map_while(Result::ok) {
                    if give.blocking_send(line).is_err() {
                        return;
                    }
                }
            });
            None
        };
        Ok(Self {
            typed,
            editor,
            backlog: VecDeque::new(),
        })
    }

    /// Asks for the next line. Nothing is read from a terminal before.
    pub(super) fn prompt(&self, text: String) {
        if let Some(editor) = &self.editor {
            // Only one line at a time is asked for, so there is room; no thread, no prompt.
            let _ = editor.prompts.try_send(text);
        }
    }

    /// Shows a text that ends with a newline, above the line that is being edited.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn print(&mut self, text: String) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.editor.is_some() {
            self.backlog.push_back(text);
            return Ok(());
        }
        let mut stdout = stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context("cannot write to stdout")
    }

    /// Whether more may be printed.
    pub(super) fn has_room(&self) -> bool {
        self.backlog.len() < BACKLOG_MAX
    }

    /// The next line; `None` at the end of the input. Prints meanwhile. Safe to drop while waiting.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            let Some(editor) = &self.editor else {
                return self.typed.recv().await;
            };
            tokio::select! {
                line = self.typed.recv() => return line,
                Ok(place) = editor.prints.reserve(), if !self.backlog.is_empty() => {
                    if let Some(text) = self.backlog.pop_front() {
                        place.send(text);
                    }
                }
            }
        }
    }

    /// Prints what is left. The terminal is as it was before.
    pub(super) async fn close(mut self) {
        let Some(editor) = self.editor.take() else {
            return;
        };
        let shown = async {
            for text in self.backlog.drain(..) {
                let _ = editor.prints.send(text).await;
            }
            // The last text is shown once there is all room again.
            let _ = editor.prints.reserve_many(PRINTS).await;
        };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), shown).await;
        editor.restore();
    }
}

impl Editor {
    fn open(give: mpsc::Sender<String>) -> Result<Self> {
        let before = tcgetattr(stdin()).ok();
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = DefaultEditor::with_config(config).context("cannot use this terminal")?;
        let mut printer = editor
            .create_external_printer()
            .context("cannot use this terminal")?;
        let (prints, mut texts) = mpsc::channel::<String>(PRINTS);
        std::thread::spawn(move || {
            while let Some(text) = texts.blocking_recv() {
                if printer.print(text).is_err() {
                    return;
                }
            }
        });
        let (prompts, asked) = sync_channel(1);
        std::thread::spawn(move || edit(editor, &asked, &give));
        Ok(Self {
            prompts,
            prints,
            before,
        })
    }

    fn restore(&self) {
        if let Some(before) = &self.before {
            // Nothing more can be done about a terminal that is gone.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Edits line after line, as they are asked for, until the user has enough.
fn edit(mut editor: DefaultEditor, asked: &Receiver<String>, give: &mpsc::Sender<String>) {
    while let Ok(prompt) = asked.recv() {
        // An end by Ctrl-C or Ctrl-D, or there is no terminal any more.
        let Ok(line) = editor.readline(&prompt) else {
            return;
        };
        // A message appears again as the entry that it becomes.
        if !line.starts_with('/') || line.starts_with("//") {
            let columns = editor
                .dimensions()
                .map_or(80, |(columns, _)| columns.into());
            erase(rows(&format!("{prompt}{line}"), columns));
        }
        if give.blocking_send(line).is_err() {
            return;
        }
    }
}

fn erase(rows: usize) {
    let mut stdout = stdout().lock();
    // A terminal that is gone is found out at the next line.
    let _ = write!(stdout, "\x1b[{rows}A\x1b[J");
    let _ = stdout.flush();
}

/// The rows of a terminal that a text takes.
fn rows(text: &str, columns: usize) -> usize {
    text.split('\n')
        .map(|line| line.width().div_ceil(columns.max(1)).max(1))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_wide_lines_take_more_rows() {
        assert_eq!(rows("", 80), 1);
        assert_eq!(rows(&"x".repeat(80), 80), 1);
        assert_eq!(rows(&"x".repeat(81), 80), 2);
        assert_eq!(rows(&"漢".repeat(41), 80), 2);
        assert_eq!(rows("a\nb\n", 80), 3);
    }
}
