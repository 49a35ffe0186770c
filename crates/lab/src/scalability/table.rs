//! Tables in Markdown: a column for each run, a row for each figure.

use std::fmt::Write as _;

use super::told::{P99, Ran, Told};
use crate::load::slo::number;

/// Times that are shown: median, p90, p95 and p99, the first of those of a report.
const SHARES: usize = 4;
/// Bytes of a megabyte.
const MB: f64 = 1e6;

type Cell = fn(&Ran) -> Option<String>;

/// Figures of a run.
const ROWS: [(&str, Cell); 22] = [
    ("users", |ran| Some(number(f64::from(ran.users)))),
    ("messages/s", |ran| figure(ran.per_second("acked"))),
    ("deliveries/s", |ran| figure(ran.per_second("deliveries"))),
    ("rows stored/s", |ran| figure(ran.stored)),
    ("HTTP calls/s", |ran| figure(ran.per_second("calls"))),
    ("ack, ms", |ran| times(ran, "ack")),
    ("delivery, ms", |ran| times(ran, "delivery")),
    ("history page, ms", |ran| times(ran, "history")),
    ("login, ms", |ran| times(ran, "login")),
    ("errors, %", |ran| figure(Some(ran.errors_percent))),
    ("cores: Banter, one process", |ran| {
        figure(ran.cores("serve"))
    }),
    ("cores: gateways", |ran| figure(ran.cores("gateway"))),
    ("cores: authentication", |ran| figure(ran.cores("auth"))),
    ("cores: workers", |ran| figure(ran.cores("worker"))),
    ("cores: Redis", |ran| figure(ran.cores("redis"))),
    ("cores: PostgreSQL", |ran| figure(ran.cores("postgres"))),
    ("cores: NGINX", |ran| figure(ran.cores("nginx"))),
    ("memory of all, MB", |ran| {
        let bytes = ran.processes.iter().map(|it| it.memory_max);
        figure(Some(bytes.sum::<f64>() / MB))
    }),
    ("cores: generators", |ran| figure(Some(ran.generator_cores))),
    ("cores: other programs", |ran| figure(Some(ran.others))),
    ("load average, 1 min", |ran| {
        figure(ran.load.first().copied())
    }),
    ("verdict", |ran| Some(ran.verdict.clone())),
];

/// What a delivery and a row cost.
const COSTS: [(&str, Cell); 2] = [
    ("CPU for a delivery, µs", |ran| {
        figure(ran.us_per_delivery())
    }),
    ("CPU for a stored row, µs", |ran| figure(ran.us_per_row())),
];

/// The table of some runs; with what each delivery and row costs, if they are to be compared.
pub(super) fn table(runs: &[(String, &Ran)], costs: bool) -> String {
    let mut text = String::new();
    let heads: Vec<_> = runs.iter().map(|(head, _)| head.as_str()).collect();
    let _ = writeln!(text, "| | {} |", heads.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(runs.len()));
    let costs = COSTS.iter().filter(|_| costs);
    for (name, cell) in ROWS.iter().chain(costs) {
        let cells: Vec<_> = runs.iter().map(|(_, ran)| cell(ran)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "–".into()));
            let _ = writeln!(
                text,
                "| {name} | {} |",
                cells.collect::<Vec<_>>().join(" | ")
            );
        }
    }
    text
}

/// What some stresses came to.
pub(super) fn limits(reports: &[(String, Told)]) -> String {
    let mut text = String::from(
        "| | sustained: messages/s | deliveries/s | delivery p99, ms | broke at actions/s | delivery p99, ms \
         | first to give out | how it failed | well again by itself |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, told) in reports {
        let Some(stress) = &told.stress else { continue };
        let run = |place: Option<usize>| place.and_then(|place| told.runs.get(place));
        let (good, bad) = (run(stress.confirmed), run(stress.broken));
        let cells = [
            figure(good.and_then(|ran| ran.per_second("acked"))),
            figure(good.and_then(|ran| ran.per_second("deliveries"))),
            figure(good.and_then(|ran| ran.time("delivery", P99))),
            figure(bad.map(|ran| ran.rate)),
            figure(bad.and_then(|ran| ran.time("delivery", P99))),
            stress
                .limit
                .as_ref()
                .map(|limit| format!("{}: {}", limit.resource, limit.evidence)),
            stress.failure.clone(),
            stress
                .recovered
                .map(|well| if well { "yes" } else { "no" }.to_owned()),
        ];
        let cells = cells.map(|cell| cell.unwrap_or_else(|| "–".into()));
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

fn figure(value: Option<f64>) -> Option<String> {
    value.map(number)
}

fn times(ran: &Ran, measure: &str) -> Option<String> {
    let each = (0..SHARES).map(|place| ran.time(measure, place));
    let each: Option<Vec<_>> = each.map(figure).collect();
    Some(each?.join(" / "))
}
