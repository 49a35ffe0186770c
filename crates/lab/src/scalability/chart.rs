//! Bars as SVG, in the colours of the page that shows them, light or dark.

use std::fmt::Write as _;

use crate::load::slo::number;

/// The drawing's width, in its own units.
const WIDTH: f64 = 720.0;
/// Room for the names at the left and the figures at the right.
const NAMES: f64 = 190.0;
const FIGURES: f64 = 70.0;
/// Height of a bar with what is between two, of the title, and of the names of the parts.
const BAR: f64 = 26.0;
const TITLE: f64 = 34.0;
const KEYS: f64 = 30.0;
/// Width of the name of a part.
const KEY: f64 = 102.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600}\
.p0{fill:#0b68cb}.p1{fill:#d9480f}.p2{fill:#2b8a3e}.p3{fill:#9c36b5}\
.p4{fill:#b08900}.p5{fill:#0c8599}.p6{fill:#868e96}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}\
.p0{fill:#5aa9ff}.p1{fill:#ff8a4c}.p2{fill:#57cc6f}.p3{fill:#d27ee8}.p4{fill:#e3b341}.p5{fill:#3bc9db}.p6{fill:#adb5bd}}";

/// A bar: its name, and the length of each of its parts.
pub(super) type Bar = (String, Vec<f64>);

/// Bars of some parts, one after the other.
pub(super) fn bars(title: &str, parts: &[&str], bars: &[Bar]) -> String {
    let sum = |(_, lengths): &Bar| lengths.iter().sum::<f64>();
    let longest = bars.iter().map(sum).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - FIGURES) / longest;
    let mut y = TITLE;
    let mut drawn = String::new();
    for bar in bars {
        let _ = write!(
            drawn,
            r#"<text x="0" y="{:.0}">{}</text>"#,
            y + 15.0,
            escape(&bar.0)
        );
        let mut x = NAMES;
        for (place, length) in bar.1.iter().enumerate() {
            let width = length * scale;
            let _ = write!(
                drawn,
                r#"<rect class="p{place}" x="{x:.1}" y="{y:.0}" width="{width:.1}" height="20"/>"#
            );
            x += width;
        }
        let _ = write!(
            drawn,
            r#"<text x="{:.1}" y="{:.0}">{}</text>"#,
            x + 6.0,
            y + 15.0,
            number(sum(bar))
        );
        y += BAR;
    }
    for (place, part) in parts.iter().enumerate().filter(|_| parts.len() > 1) {
        let x = f64::from(u32::try_from(place).unwrap_or(u32::MAX)) * KEY;
        let _ = write!(
            drawn,
            r#"<rect class="p{place}" x="{x:.0}" y="{:.0}" width="12" height="12"/><text x="{:.0}" y="{:.0}">{}</text>"#,
            y + 8.0,
            x + 17.0,
            y + 19.0,
            escape(part)
        );
    }
    let (title, height) = (escape(title), y + KEYS);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" \
         aria-label=\"{title}\"><style>{STYLE}</style><text class=\"t\" x=\"0\" y=\"18\">{title}</text>{drawn}</svg>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_parts() {
        let all = [
            ("a < b".to_owned(), vec![1.0, 3.0]),
            ("half".to_owned(), vec![1.0, 1.0]),
        ];
        let svg = bars("cost & gain", &["one", "two"], &all);
        let widths: Vec<_> = svg
            .split("width=\"")
            .skip(1)
            .map(|rest| {
                let (width, _) = rest.split_once('"').unwrap();
                width.parse::<f64>().unwrap()
            })
            .collect();
        assert_eq!(widths, [115.0, 345.0, 115.0, 115.0, 12.0, 12.0]);
        assert!(
            svg.contains("a &lt; b") && svg.contains("cost &amp; gain"),
            "{svg}"
        );
    }
}
