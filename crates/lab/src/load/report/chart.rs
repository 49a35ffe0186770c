//! Lines over time, as SVG without scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Line;
use crate::load::slo::number;

/// The drawing's size, in its own units; it is scaled to the width that there is.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
/// Room for the numbers beside and below.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;
/// Colours of the style sheet.
const COLOURS: usize = 8;
/// Lines of a grid.
const STEPS: f64 = 4.0;
/// Points of a line; of a longer run several seconds share one, with the highest of their values.
const POINTS_MAX: u32 = 720;

/// Something that happened at a time.
pub(super) struct Mark {
    pub(super) second: u32,
    pub(super) text: String,
}

/// A chart.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    pub(super) lines: Vec<Line>,
    pub(super) marks: &'a [Mark],
    /// Seconds before anything was measured.
    pub(super) warm_up: u32,
    /// The last second of the run, where every chart ends.
    pub(super) last: u32,
}

impl Chart<'_> {
    /// The figure; nothing when there is nothing to draw.
    pub(super) fn html(&self) -> String {
        let lines: Vec<_> = self.lines.iter().filter(|(_, v)| !v.is_empty()).collect();
        if lines.is_empty() {
            return String::new();
        }
        let last = self.last.max(1);
        let values = lines
            .iter()
            .flat_map(|(_, values)| values.values().copied());
        let top = ceiling(values.fold(0.0, f64::max));
        let x = |second: f64| LEFT + (WIDTH - LEFT - RIGHT) * second / f64::from(last);
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / top).min(1.0);
        let mut svg = String::new();
        self.ground(&mut svg, last, top, &x, &y);
        for (place, (_, values)) in lines.iter().enumerate() {
            let colour = colour(place);
            let points = thinned(values, last);
            let points: Vec<_> = points
                .iter()
                .map(|(second, value)| format!("{:.1},{:.1}", x(f64::from(*second)), y(*value)))
                .collect();
            let _ = match points.as_slice() {
                // One value is a point.
                [point] => {
                    let (x, y) = point.split_once(',').unwrap_or_default();
                    write!(svg, r#"<circle class="{colour}" cx="{x}" cy="{y}" r="3"/>"#)
                }
                points => {
                    let points = points.join(" ");
                    write!(svg, r#"<polyline class="{colour}" points="{points}"/>"#)
                }
            };
        }
        let mut html = format!(
            "<figure><figcaption>{} <span>{}</span></figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{svg}</svg><ul>",
            self.title, self.unit, self.title
        );
        for (place, (name, values)) in lines.iter().enumerate() {
            let highest = values.values().copied().fold(0.0, f64::max);
            let _ = write!(
                html,
                "<li><i class=\"{}\"></i>{} <span>max {}</span></li>",
                colour(place),
                escape(name),
                number(highest)
            );
        }
        html.push_str("</ul></figure>\n");
        html
    }

    /// Grid, numbers, warm-up and marks.
    fn ground(
        &self,
        svg: &mut String,
        last: u32,
        top: f64,
        x: &impl Fn(f64) -> f64,
        y: &impl Fn(f64) -> f64,
    ) {
        let from = self.warm_up;
        if from > 0 {
            let width = x(f64::from(from.min(last))) - LEFT;
            let height = HEIGHT - TOP - BOTTOM;
            let _ = write!(
                svg,
                r#"<rect class="warm" x="{LEFT}" y="{TOP}" width="{width:.1}" height="{height}"/>"#
            );
        }
        let mut value = 0.0;
        while value <= top * 1.001 {
            let (at, right) = (y(value), WIDTH - RIGHT);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}"/><text x="{:.1}" y="{:.1}" class="y">{}</text>"#,
                LEFT - 6.0,
                at + 4.0,
                tick(value)
            );
            value += top / STEPS;
        }
        let step = time_step(last);
        let mut second = 0;
        while second <= last {
            let _ = write!(
                svg,
                r#"<text x="{:.1}" y="{:.1}" class="x">{}</text>"#,
                x(f64::from(second)),
                HEIGHT - 8.0,
                time(second)
            );
            second += step;
        }
        for mark in self.marks {
            let at = x(f64::from(mark.second.min(last)));
            let (low, text) = (HEIGHT - BOTTOM, escape(&mark.text));
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{low}\"/>\
                 <text class=\"marked\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                at + 3.0,
                TOP + 9.0
            );
        }
    }
}

/// The classes of a line; when colours end, they come again, broken.
fn colour(place: usize) -> String {
    let again = if place >= COLOURS { " again" } else { "" };
    format!("c{}{again}", place % COLOURS + 1)
}

/// The next round number that fits, so that a quarter of it is round too.
fn ceiling(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    let fits = steps
        .into_iter()
        .find(|step| step * power >= highest * 0.999);
    fits.unwrap_or(10.0) * power
}

/// Some eight numbers below.
fn time_step(last: u32) -> u32 {
    let steps = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400,
    ];
    let fits = steps.into_iter().find(|step| last / step <= 8);
    fits.unwrap_or(86_400)
}

/// A time as people write it.
fn time(second: u32) -> String {
    match second {
        _ if second > 0 && second.is_multiple_of(3_600) => format!("{} h", second / 3_600),
        _ if second >= 120 && second.is_multiple_of(60) => format!("{} min", second / 60),
        _ => format!("{second} s"),
    }
}

/// What is drawn of so many seconds.
fn thinned(values: &BTreeMap<u32, f64>, last: u32) -> Vec<(u32, f64)> {
    let each = last.div_ceil(POINTS_MAX).max(1);
    let mut points: Vec<(u32, f64)> = Vec::new();
    for (second, value) in values {
        let at = second / each * each;
        match points.last_mut() {
            Some(point) if point.0 == at => point.1 = point.1.max(*value),
            _ => points.push((at, *value)),
        }
    }
    points
}

fn tick(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        _ if value >= 1e4 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text in HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        let ends = [0.0, 0.03, 0.9, 1.0, 1.1, 33.0, 250.0, 99_000.0].map(ceiling);
        assert_eq!(ends, [1.0, 0.04, 1.0, 1.0, 2.0, 40.0, 400.0, 100_000.0]);
        assert_eq!([5, 30, 65, 600].map(time_step), [1, 5, 10, 120]);
        assert_eq!(
            [0.25, 100.0, 12_500.0, 2e6].map(tick),
            ["0.25", "100", "12.5k", "2M"]
        );
    }

    #[test]
    fn a_long_run_is_drawn_with_its_peaks() {
        let day = 86_400;
        let values = (0..day).map(|second| (second, f64::from(u8::from(second == 40_000))));
        let points = thinned(&values.collect(), day);
        assert!(points.len() <= 721, "{}", points.len());
        assert_eq!(points.iter().filter(|(_, value)| *value > 0.5).count(), 1);
        assert_eq!(thinned(&[(3, 1.0)].into(), 10), [(3, 1.0)]);
        let times = [0, 30, 90, 120, 600, 3_600, 7_200].map(time);
        assert_eq!(
            times,
            ["0 s", "30 s", "90 s", "2 min", "10 min", "1 h", "2 h"]
        );
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        assert_eq!(escape("<b>\"&"), "&lt;b&gt;&quot;&amp;");
    }
}
