//! Durations as people write them: `500ms`, `10m`, `1h30m`.

use std::time::Duration;

/// Units from the largest to the smallest, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// What a duration looks like, for messages.
pub(crate) const FORM: &str =
    "must be a duration such as \"500ms\", \"30s\", \"10m\", \"1h30m\" or \"14d\"";

/// Reads a duration: numbers, each followed by its unit.
///
/// # Errors
/// [`FORM`], when it is anything else, or too long to be counted in milliseconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(FORM)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (name, tail) = tail.split_at(unit);
        let (_, scale) = UNITS.iter().find(|(n, _)| *n == name).ok_or(FORM)?;
        let number: u64 = number.parse().map_err(|_| FORM)?;
        let part = number.checked_mul(*scale).ok_or(FORM)?;
        total = total.checked_add(part).ok_or(FORM)?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(FORM.to_owned());
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration so that [`parse`] reads it back; below a millisecond nothing is kept.
pub(crate) fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, scale) in UNITS {
        if rest >= scale {
            text.push_str(&format!("{}{name}", rest / scale));
            rest %= scale;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("14d", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(format(Duration::from_millis(ms)), text);
        }
        assert_eq!(parse("90s"), parse("1m30s"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "10 m",
            "-1s",
            "1.5h",
            "10x",
            "99999999999999999999s",
            "٣s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
