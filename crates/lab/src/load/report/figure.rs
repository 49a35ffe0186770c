//! What is drawn: every series of a run, grouped into charts.

use super::Line;
use crate::load::outcome::{Outcome, Second};
use crate::load::sample::{Count, Measure};
use crate::load::watch::{Look, Usage};

/// Title, unit and lines of a chart.
pub(super) type Figure = (&'static str, &'static str, Vec<Line>);

/// All charts of a run, in their order.
pub(super) fn figures(run: &Outcome) -> Vec<Figure> {
    let mut figures = rates(run);
    figures.extend(latencies(run));
    figures.extend(costs(run));
    figures
}

/// A line from every second that has a value.
fn line(name: &str, run: &Outcome, value: impl Fn(&Second) -> Option<f64>) -> Line {
    let values = run.series.iter();
    let values = values.filter_map(|second| Some((second.second, value(second)?)));
    (name.to_owned(), values.collect())
}

fn looked(name: &str, run: &Outcome, value: impl Fn(&Look) -> Option<f64>) -> Line {
    line(name, run, |second| value(second.look.as_ref()?))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rates(run: &Outcome) -> Vec<Figure> {
    let count = |name: &str, count: Count| {
        // A second in which nothing happened is a zero, where anything ever does.
        let ever = run
            .series
            .iter()
            .any(|second| second.counts.contains_key(&count));
        line(name, run, |second| {
            let counted = second.counts.get(&count).copied().unwrap_or(0);
            ever.then_some(counted as f64)
        })
    };
    let errors = |second: &Second| Some(second.errors.values().sum::<u64>() as f64);
    let messages = vec![
        count("sent", Count::Sent),
        count("acked", Count::Acked),
        looked("stored", run, |look| look.stored),
        count("HTTP calls", Count::Calls),
    ];
    vec![
        (
            "Deliveries",
            "a second",
            vec![count("deliveries", Count::Deliveries)],
        ),
        ("Messages and calls", "a second", messages),
        ("Errors", "a second", vec![line("errors", run, errors)]),
        (
            "Open sockets",
            "",
            vec![line("sockets", run, |second| Some(f64::from(second.open)))],
        ),
    ]
}

fn latencies(run: &Outcome) -> Vec<Figure> {
    let time = |name: &str, measure: Measure, place: usize| {
        line(name, run, |second| {
            second.times.get(&measure).map(|times| times[place])
        })
    };
    let times = |measure: Measure| {
        // The last one is drawn above the others.
        let names = [("p50", 0), ("max", 2), ("p99", 1)];
        names
            .map(|(name, place)| time(name, measure, place))
            .to_vec()
    };
    let calls = [
        Measure::History,
        Measure::Channels,
        Measure::Login,
        Measure::Connect,
    ];
    let calls = calls.map(|measure| time(&format!("{} p99", measure.name()), measure, 1));
    vec![
        ("Delivery", "ms", times(Measure::Delivery)),
        ("Ack", "ms", times(Measure::Ack)),
        ("HTTP and connecting", "ms", calls.to_vec()),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn costs(run: &Outcome) -> Vec<Figure> {
    let each = |of: &dyn Fn(&Usage) -> f64| -> Vec<Line> {
        let processes = run.processes.iter().enumerate();
        let lines = processes.map(|(number, process)| {
            looked(&process.watched.name, run, |look| {
                look.processes.get(number)?.as_ref().map(of)
            })
        });
        lines.collect()
    };
    let mut cpu = each(&|usage| usage.cores);
    cpu.push(looked("generators", run, |look| Some(look.generators)));
    cpu.push(looked("other programs", run, |look| Some(look.others)));
    let load = |name: &str, place: usize| looked(name, run, |look| Some(look.load[place]));
    vec![
        ("CPU", "cores", cpu),
        ("Memory", "MB", each(&|usage| usage.memory as f64 / 1e6)),
        ("Open files", "", each(&|usage| f64::from(usage.files))),
        ("Sockets of each gateway", "", sockets(run)),
        (
            "Imbalance of sockets over gateways",
            "% of their mean",
            vec![looked("deviation", run, |look| {
                run.imbalance_at(look).map(|share| share * 100.0)
            })],
        ),
        (
            "Queue to the database",
            "entries",
            vec![looked("entries", run, |look| Some(look.queue?.entries))],
        ),
        (
            "Age of the oldest entry in the queue",
            "s",
            vec![looked("age", run, |look| Some(look.queue?.oldest_s))],
        ),
        (
            "Load average",
            "",
            vec![load("1 min", 0), load("5 min", 1), load("15 min", 2)],
        ),
    ]
}

/// A line for each gateway, where there are several.
fn sockets(run: &Outcome) -> Vec<Line> {
    let gateways = run.processes.iter().enumerate();
    let gateways = gateways.filter(|(_, process)| process.watched.role == "gateway");
    let lines = gateways.map(|(number, process)| {
        looked(&process.watched.name, run, |look| {
            look.sockets.get(number).copied().flatten()
        })
    });
    lines.collect()
}
