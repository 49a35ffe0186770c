//! The terminal while `banter top` has it: another screen, no cursor, keys heard one by one.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _, stdin, stdout};
use std::sync::Arc;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::Notify;

use super::draw::{Line, Tone};

/// A terminal's size where it does not tell.
const USUAL: (usize, usize) = (80, 24);

/// Given back as it was when this is dropped.
pub(super) struct Screen {
    /// How the keyboard was; none where standard input is no terminal.
    keyboard: Option<Termios>,
    quit: Arc<Notify>,
    color: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn open() -> io::Result<Self> {
        let keyboard = tcgetattr(stdin()).ok();
        if let Some(mut modes) = keyboard.clone() {
            modes.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(stdin(), OptionalActions::Now, &modes)?;
        }
        let quit = Arc::new(Notify::new());
        if keyboard.is_some() {
            let quit = quit.clone();
            // It ends with the process: a read of the keyboard cannot be called off.
            std::thread::spawn(move || {
                let keys = stdin().lock().bytes().map_while(Result::ok);
                keys.filter(|key| matches!(key, b'q' | b'Q' | 0x1b | 0x04))
                    .for_each(|_| quit.notify_one());
            });
        }
        let color = std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        write("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Self {
            keyboard,
            quit,
            color,
        })
    }

    /// Returns when somebody presses q.
    pub(super) async fn asked_to_end(&self) {
        self.quit.notified().await;
    }

    /// Columns and rows.
    #[expect(
        clippy::unused_self,
        reason = "there is a size only while there is a screen"
    )]
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL,
        }
    }

    /// Shows lines from the top; what does not fit is left out.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(super) fn show(&self, lines: &[Line], columns: usize, rows: usize) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (row, line) in lines.iter().take(rows).enumerate() {
            if row > 0 {
                text.push_str("\r\n");
            }
            let mut room = columns;
            for (tone, piece) in &line.0 {
                let fitting: String = piece.chars().take(room).collect();
                room -= fitting.chars().count();
                self.piece(&mut text, *tone, &fitting);
            }
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        write(&text)
    }

    fn piece(&self, text: &mut String, tone: Tone, piece: &str) {
        let code = match tone {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Soft => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Graph => "36",
        };
        if code.is_empty() || !self.color {
            text.push_str(piece);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "\x1b[{code}m{piece}\x1b[0m");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell that the terminal is gone.
        let _ = write("\x1b[?25h\x1b[?1049l");
        if let Some(modes) = &self.keyboard {
            let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
