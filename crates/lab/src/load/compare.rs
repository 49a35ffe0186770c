//! Runs side by side.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::outcome::{Outcome, Second};
use super::sample::{Count, Measure};
use super::slo::{number, whole};
use crate::statistics::quartiles;

/// A figure of a run: its name, and how to find it.
type Finder = (&'static str, fn(&Outcome) -> Option<f64>);

/// What is compared.
const FIGURES: [Finder; 16] = [
    ("messages/s", |run| Some(run.per_second(Count::Acked))),
    ("deliveries/s", |run| {
        Some(run.per_second(Count::Deliveries))
    }),
    ("HTTP calls/s", |run| Some(run.per_second(Count::Calls))),
    ("ack p50 ms", |run| run.time(Measure::Ack, 0.5)),
    ("ack p99 ms", |run| run.time(Measure::Ack, 0.99)),
    ("delivery p50 ms", |run| run.time(Measure::Delivery, 0.5)),
    ("delivery p99 ms", |run| run.time(Measure::Delivery, 0.99)),
    ("history p99 ms", |run| run.time(Measure::History, 0.99)),
    ("login p99 ms", |run| run.time(Measure::Login, 0.99)),
    ("errors %", |run| Some(run.errors_percent)),
    ("server cores", cores),
    ("cores per 1,000 users", |run| {
        cores(run).map(|cores| cores * 1e3 / f64::from(run.users.max(1)))
    }),
    ("CPU µs per delivery", |run| {
        let any = run.per_second(Count::Deliveries) > 0.0 && !run.processes.is_empty();
        any.then(|| run.us_per_delivery())
    }),
    ("memory MB", memory),
    ("memory of a socket KiB", |run| {
        run.bytes_per_socket.map(|bytes| bytes / 1024.0)
    }),
    ("load average, 1 min", |run| Some(run.load[0])),
];

fn cores(run: &Outcome) -> Option<f64> {
    let cores = run.processes.iter().map(|process| process.cores);
    (!run.processes.is_empty()).then(|| cores.sum())
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn memory(run: &Outcome) -> Option<f64> {
    let bytes: u64 = run.processes.iter().map(|process| process.memory_max).sum();
    (!run.processes.is_empty()).then(|| bytes as f64 / 1e6)
}

/// The head of the table, and a row for each figure that some run has.
#[must_use]
pub fn compared(runs: &[Outcome]) -> (Vec<String>, Vec<Vec<String>>) {
    let users = |run: &Outcome| format!("{} users", whole(run.users.into()));
    let rate = |run: &Outcome| format!("{}/s", number(run.rate));
    let same = |of: fn(&Outcome, &Outcome) -> bool| runs.windows(2).all(|two| of(&two[0], &two[1]));
    let (same_users, same_profile) = (
        same(|one, other| one.users == other.users),
        same(|one, other| one.profile == other.profile),
    );
    let named = |run: &Outcome| match (same_users, same_profile) {
        (true, true) => rate(run),
        (false, true) => users(run),
        _ => format!("{} {}", run.profile, whole(run.users.into())),
    };
    let mut head = vec![String::new()];
    head.extend(runs.iter().map(named));
    let mut rows = Vec::new();
    for (name, figure) in FIGURES {
        let values: Vec<_> = runs.iter().map(figure).collect();
        if values
            .iter()
            .any(|value| value.is_some_and(|value| value > 0.0))
        {
            let cells = values.into_iter();
            let cells = cells.map(|value| value.map_or("-".to_owned(), number));
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    }
    let verdicts = runs.iter().map(|run| run.verdict.word().to_owned());
    rows.push(
        std::iter::once("verdict".to_owned())
            .chain(verdicts)
            .collect(),
    );
    (head, rows)
}

/// The same, for a terminal.
#[must_use]
pub fn comparison(runs: &[Outcome]) -> String {
    let (head, rows) = compared(runs);
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        for (place, cell) in row.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = match place {
                0 => write!(text, "{cell:<24}"),
                _ => write!(text, "{cell:>18}"),
            };
        }
        text.push('\n');
    }
    text
}

/// Each run on a line: what was asked for, what came of it.
#[must_use]
pub fn steps(runs: &[Outcome]) -> String {
    let mut text = format!(
        "{:>9}{:>12}{:>14}{:>14}{:>12}{:>16}{:>10}{:>9}\n",
        "users",
        "actions/s",
        "messages/s",
        "deliveries/s",
        "ack p99",
        "delivery p99",
        "cores",
        "verdict"
    );
    let ms = |time: Option<f64>| time.map_or("-".to_owned(), |ms| format!("{} ms", number(ms)));
    for run in runs {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>9}{:>12}{:>14}{:>14}{:>12}{:>16}{:>10}{:>9}",
            whole(run.users.into()),
            number(run.rate),
            number(run.per_second(Count::Acked)),
            number(run.per_second(Count::Deliveries)),
            ms(run.time(Measure::Ack, 0.99)),
            ms(run.time(Measure::Delivery, 0.99)),
            cores(run).map_or("-".to_owned(), |cores| format!("{cores:.2}")),
            run.verdict.word()
        );
    }
    text
}

/// A figure of a run that can be compared with that of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// A quarter of the seconds were below the first, a quarter above the second.
    pub spread: Option<(f64, f64)>,
}

/// The figures of a run.
#[must_use]
pub fn figures(run: &Outcome) -> Vec<Figure> {
    let figures = FIGURES.iter().filter_map(|(name, figure)| {
        Some(Figure {
            name: (*name).to_owned(),
            value: figure(run)?,
            spread: spread(run, name),
        })
    });
    figures.collect()
}

/// How a figure scatters over the measured seconds.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn spread(run: &Outcome, name: &str) -> Option<(f64, f64)> {
    let end = run.warm_up + run.seconds;
    let seconds = run.series.iter();
    let seconds = seconds.filter(|second| (run.warm_up..end).contains(&second.second));
    let time = |second: &Second, measure, place: usize| {
        second.times.get(&measure).map(|times| times[place])
    };
    let count = |second: &Second, count| second.counts.get(&count).map(|count| *count as f64);
    let values = seconds.filter_map(|second| match name {
        "messages/s" => count(second, Count::Acked),
        "deliveries/s" => count(second, Count::Deliveries),
        "HTTP calls/s" => count(second, Count::Calls),
        "ack p50 ms" => time(second, Measure::Ack, 0),
        "ack p99 ms" => time(second, Measure::Ack, 1),
        "delivery p50 ms" => time(second, Measure::Delivery, 0),
        "delivery p99 ms" => time(second, Measure::Delivery, 1),
        "history p99 ms" => time(second, Measure::History, 1),
        "login p99 ms" => time(second, Measure::Login, 1),
        "server cores" => {
            let look = second.look.as_ref()?;
            Some(
                look.processes
                    .iter()
                    .flatten()
                    .map(|usage| usage.cores)
                    .sum(),
            )
        }
        _ => None,
    });
    let [low, _, high] = quartiles(&values.collect::<Vec<_>>())?;
    Some((low, high))
}

/// Two runs, figure by figure: the ratio, and whether the seconds of one lie beyond those of the
/// other.
#[must_use]
pub fn ratios(before: &[Figure], after: &[Figure]) -> String {
    let mut text = format!("{:<22}{:>14}{:>14}{:>9}\n", "", "before", "after", "ratio");
    for old in before {
        let Some(new) = after.iter().find(|new| new.name == old.name) else {
            continue;
        };
        let ratio = if old.value > 0.0 {
            format!("{:.2}", new.value / old.value)
        } else {
            "-".to_owned()
        };
        let remark = match (old.spread, new.spread) {
            (Some((_, high)), Some((low, _))) if low > high => "more, beyond the noise",
            (Some((low, _)), Some((_, high))) if high < low => "less, beyond the noise",
            _ => "",
        };
        let (before, after) = (number(old.value), number(new.value));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}",
            format!(
                "{:<22}{before:>14}{after:>14}{ratio:>9}  {remark}",
                old.name
            )
            .trim_end()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_change() {
        let figure = |value, low, high| Figure {
            name: "ack p99 ms".to_owned(),
            value,
            spread: Some((low, high)),
        };
        let before = [figure(10.0, 8.0, 12.0)];
        let told = |value, low, high| ratios(&before, &[figure(value, low, high)]);
        assert!(told(20.0, 15.0, 25.0).contains("2.00  more"));
        assert!(told(5.0, 4.0, 6.0).contains("0.50  less"));
        assert!(told(11.0, 9.0, 13.0).trim_end().ends_with("1.10"));
    }
}
