//! Runs side by side.

use std::fmt::Write as _;

use super::outcome::Outcome;
use super::sample::{Count, Measure};
use super::slo::{number, whole};

/// A figure of a run: its name, and how to find it.
type Figure = (&'static str, fn(&Outcome) -> Option<f64>);

/// What is compared.
const FIGURES: [Figure; 15] = [
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
    let same = runs.windows(2).all(|two| two[0].users == two[1].users);
    let named = |run: &Outcome| if same { rate(run) } else { users(run) };
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
                0 => write!(text, "{cell:<22}"),
                _ => write!(text, "{cell:>14}"),
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
        "{:>12}{:>14}{:>14}{:>12}{:>16}{:>10}{:>9}\n",
        "actions/s", "messages/s", "deliveries/s", "ack p99", "delivery p99", "cores", "verdict"
    );
    let ms = |time: Option<f64>| time.map_or("-".to_owned(), |ms| format!("{} ms", number(ms)));
    for run in runs {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>12}{:>14}{:>14}{:>12}{:>16}{:>10}{:>9}",
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
