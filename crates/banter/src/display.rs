//! What others wrote, as it may be shown in a terminal.

use std::fmt::Write as _;

use banter_client::frame::{Entry, Kind};
use time::{OffsetDateTime, UtcOffset};

/// How entries are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Display {
    /// Of the user's clock.
    offset: UtcOffset,
    color: bool,
}

impl Display {
    /// In local time, coloured if asked to and not forbidden by `NO_COLOR`. To be made before there
    /// are threads: only then is the time zone safe to read.
    pub(crate) fn new(color: bool) -> Self {
        Self {
            offset: UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC),
            color: color && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()),
        }
    }

    /// A line (or more) for one entry, with its newline; none for what only counts.
    pub(crate) fn entry(self, entry: &Entry, date: bool) -> Option<String> {
        let time = self.time(entry, date);
        let text = match &entry.kind {
            Kind::Message { author, body, .. } => {
                format!(
                    "{} {}: {}",
                    self.dim(&time),
                    self.bold(&visible(author)),
                    block(body)
                )
            }
            Kind::Joined { user } => self.dim(&format!("{time} {} joined", visible(user))),
            Kind::Left { user, by: None } => self.dim(&format!("{time} {} left", visible(user))),
            Kind::Left { user, by: Some(by) } => {
                let (user, by) = (visible(user), visible(by));
                self.dim(&format!("{time} {user} was removed by {by}"))
            }
            Kind::Tombstone => self.dim(&format!("{time} a message could not be stored")),
            Kind::Other => return None,
        };
        Some(text + "\n")
    }

    /// The day of an entry, to be shown when it changes.
    pub(crate) fn day(self, entry: &Entry) -> String {
        let date = self.local(entry).date();
        format!(
            "{} {} {} {}",
            date.weekday(),
            date.day(),
            date.month(),
            date.year()
        )
    }

    /// A remark of this program.
    pub(crate) fn note(self, text: &str) -> String {
        self.dim(&format!("— {text}")) + "\n"
    }

    fn time(self, entry: &Entry, date: bool) -> String {
        let at = self.local(entry);
        let mut text = String::new();
        // Writing to a string cannot fail.
        if date {
            let (year, month, day) = at.to_calendar_date();
            let _ = write!(text, "{year:04}-{:02}-{day:02} ", u8::from(month));
        }
        let _ = write!(text, "{:02}:{:02}", at.hour(), at.minute());
        if date {
            let _ = write!(text, ":{:02}", at.second());
        }
        text
    }

    fn local(self, entry: &Entry) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(entry.sent_at.as_ms().div_euclid(1000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .to_offset(self.offset)
    }

    fn dim(self, text: &str) -> String {
        self.styled("2", text)
    }

    fn bold(self, text: &str) -> String {
        self.styled("1", text)
    }

    fn styled(self, style: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Several lines of one message: those after the first are set in, so that none of them can pass
/// for a message of its own.
fn block(body: &str) -> String {
    let lines: Vec<String> = body.split('\n').map(visible).collect();
    lines.join("\n    ")
}

/// A text with everything that could steer a terminal, or turn the order of its characters, spelt
/// out.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push_str("    "),
            c if steers(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// A JSON text with the same spelt out in JSON's own way: it still means the same.
pub(crate) fn visible_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Outside of strings; inside, they are escaped already.
            '\n' | '\r' | '\t' => shown.push(' '),
            c if steers(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
            c => shown.push(c),
        }
    }
    shown
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Bidirectional marks, embeddings, overrides and isolates.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators, annotations, tags.
            | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Entry {
        let text = serde_json::json!({
            "type": "message", "channel": "0190163d-8694-739b-aea5-966c26f8ad90", "seq": 1,
            "epoch": 1, "id": "a", "author": "bob", "body": body,
            "sent_at": "2026-11-24T20:34:10.007Z",
        });
        Entry::parse(&text.to_string()).unwrap()
    }

    const PLAIN: Display = Display {
        offset: UtcOffset::UTC,
        color: false,
    };

    #[test]
    fn nothing_steers_the_terminal() {
        let body = "\x1b[2Jhi\u{9b}31m\u{202e}abc\u{7f}\r";
        let shown = PLAIN.entry(&message(body), true).unwrap();
        assert_eq!(
            shown,
            "2026-11-24 20:34:10 bob: \\u{1b}[2Jhi\\u{9b}31m\\u{202e}abc\\u{7f}\\u{d}\n"
        );
    }

    #[test]
    fn a_second_line_cannot_pass_for_a_message() {
        let shown = PLAIN.entry(&message("one\n20:35 ann: two"), false).unwrap();
        assert_eq!(shown, "20:34 bob: one\n    20:35 ann: two\n");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let raw = "{\"a\":\"\u{9b}\u{202e}\u{7f}é\u{e0041}\"}";
        let shown = visible_json(raw);
        assert_eq!(shown, r#"{"a":"\u009b\u202e\u007fé\udb40\udc41"}"#);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(raw));
    }
}
