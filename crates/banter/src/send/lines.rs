//! Standard input, line by line, in bounded memory.

use std::io::{BufRead, stdin};

use anyhow::{Context as _, Result};
use banter_protocol::limit;
use tokio::sync::mpsc;

use super::Input;

/// Lines read ahead of the sender.
const AHEAD: usize = 64;

/// The lines that are not blank, as they come.
pub(super) fn read() -> mpsc::Receiver<Result<Input>> {
    let (give, take) = mpsc::channel(AHEAD);
    // A thread of its own, not of the runtime's pool: a read that nobody ends must not keep the
    // process from ending.
    std::thread::spawn(move || {
        let mut reader = stdin().lock();
        let mut line = 0;
        loop {
            line += 1;
            let text = match next_line(&mut reader) {
                Ok(Some(Ok(text))) if text.trim().is_empty() => continue,
                Ok(Some(text)) => text,
                Ok(None) => return,
                Err(e) => {
                    let failed = Err(e).context("cannot read standard input");
                    let _ = give.blocking_send(failed);
                    return;
                }
            };
            if give.blocking_send(Ok(Input { line, text })).is_err() {
                return;
            }
        }
    });
    take
}

/// The next line without its end, or what is wrong with it; `None` at the end of the input.
fn next_line(reader: &mut impl BufRead) -> std::io::Result<Option<Result<String, String>>> {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut any = false;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        too_long |= line.len() + part.len() > limit::BODY_BYTES_MAX + 1;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if !any {
        return Ok(None);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(if too_long {
        let most = limit::BODY_BYTES_MAX;
        Err(format!("longer than the {most} bytes of a message"))
    } else {
        String::from_utf8(line).map_err(|_| "not UTF-8 text".to_owned())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Result<String, String>> {
        // A small buffer, so that lines span several.
        let mut reader = std::io::BufReader::with_capacity(7, input);
        std::iter::from_fn(|| next_line(&mut reader).unwrap()).collect()
    }

    #[test]
    fn lines_end_with_or_without_a_return() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(
            lines(b"one\r\n\ntwo and more"),
            [ok("one"), ok(""), ok("two and more")]
        );
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn a_bad_line_does_not_spoil_the_next() {
        let mut input = vec![b'x'; 3 * limit::BODY_BYTES_MAX];
        input.extend_from_slice(b"\n\xff\nfine\n");
        let lines = lines(&input);
        assert!(lines[0].is_err() && lines[1].is_err());
        assert_eq!(lines[2].as_deref(), Ok("fine"));
    }

    #[test]
    fn the_longest_message_passes() {
        let input = "x".repeat(limit::BODY_BYTES_MAX) + "\r\n";
        assert_eq!(
            lines(input.as_bytes())[0].as_ref().unwrap().len(),
            limit::BODY_BYTES_MAX
        );
    }
}
