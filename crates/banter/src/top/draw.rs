//! Figures as lines of text: a table of the processes, and their last minutes as small charts.

use std::collections::BTreeMap;

use super::figures::{Fleet, newest, together};
use crate::display::visible;

/// How a piece of a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Soft,
    Good,
    Warn,
    Bad,
    Graph,
}

/// A line, in pieces.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Line(pub(super) Vec<(Tone, String)>);

impl Line {
    fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self(vec![(tone, text.into())])
    }

    fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    fn plain(&self) -> String {
        let mut text: String = self.0.iter().map(|(_, piece)| piece.as_str()).collect();
        text.truncate(text.trim_end().len());
        text
    }
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Count,
    Ms,
    Bytes,
    Cores,
}

/// A chart: title, figure, unit, and whether of several processes the worst one counts.
const CHARTS: [(&str, &str, Unit, bool); 14] = [
    ("connections", "connections", Unit::Count, false),
    ("messages/s", "messages", Unit::Count, false),
    ("refused/s", "rejected", Unit::Count, false),
    ("deliveries/s", "deliveries", Unit::Count, false),
    ("ack p99", "ack_p99_ms", Unit::Ms, true),
    ("delivery p99", "delivery_p99_ms", Unit::Ms, true),
    ("queue", "queue", Unit::Count, false),
    ("queue age", "queue_age_ms", Unit::Ms, true),
    ("unstored", "unstored", Unit::Count, true),
    ("unstored age", "unstored_age_ms", Unit::Ms, true),
    ("loop delay p99", "loop_delay_p99_ms", Unit::Ms, true),
    ("CPU", "cpu_cores", Unit::Cores, false),
    ("memory", "memory_bytes", Unit::Bytes, false),
    ("bytes out/s", "bytes_out", Unit::Bytes, false),
];
/// Columns of a chart's title, and of its figures.
const TITLE: usize = 16;
const FIGURE: usize = 11;

/// Everything, for a terminal so wide; `now` in seconds since 1970.
pub(super) fn screen(fleet: &Fleet, now: i64, columns: usize) -> Vec<Line> {
    let mut lines = vec![head(fleet)];
    lines.extend(attention(fleet));
    lines.push(Line::default());
    lines.extend(rows(fleet, now));
    lines.push(Line::default());
    let width = columns
        .saturating_sub(TITLE + 2 * FIGURE + 2)
        .clamp(10, 300);
    let heads = format!("{:TITLE$}{:>FIGURE$}{:>FIGURE$}", "", "now", "most");
    lines.push(Line::of(Tone::Soft, format!("{heads}  last {width} s")));
    let chart = |(title, name, unit, worst)| chart(fleet, title, name, unit, worst, width);
    lines.extend(CHARTS.map(chart));
    lines
}

/// The table alone, as plain text.
pub(super) fn table(fleet: &Fleet, now: i64) -> String {
    let lines = rows(fleet, now).into_iter().chain(attention(fleet));
    lines.map(|line| line.plain() + "\n").collect()
}

fn head(fleet: &Fleet) -> Line {
    let count = fleet.processes().len();
    let title = if count == 1 { "process" } else { "processes" };
    Line::of(Tone::Strong, "Banter").and(Tone::Soft, format!("  {count} {title}   q ends"))
}

/// What somebody who was woken up wants to know first.
fn attention(fleet: &Fleet) -> Vec<Line> {
    let mut lines: Vec<_> = fleet
        .silences()
        .map(|why| Line::of(Tone::Bad, format!("! {}", visible(why))))
        .collect();
    // All who see the queue see the same one.
    let waits = fleet
        .processes()
        .filter_map(|it| newest(it, "unstored_age_ms"));
    if let Some(age) = waits.reduce(f64::max).filter(|age| *age > 5_000.0) {
        let age = shown(age, Unit::Ms);
        let text = format!("! the oldest entry in the log has waited {age} for the database");
        lines.push(Line::of(Tone::Bad, text));
    }
    lines.extend(fleet.gone().map(|name| {
        let text = format!(
            "! {} is gone: it has ended, or is cut off from Redis",
            visible(name)
        );
        Line::of(Tone::Bad, text)
    }));
    for process in fleet.processes() {
        let name = visible(&process.name);
        let mut say = |tone, what: String| lines.push(Line::of(tone, format!("! {name}: {what}")));
        for (needed, state) in &process.dependencies {
            if state != "up" {
                say(
                    Tone::Bad,
                    format!("{} is {}", visible(needed), visible(state)),
                );
            }
        }
        if process.state != "serving" {
            say(Tone::Warn, visible(&process.state));
        }
        let above = |name: &str, limit: f64| newest(process, name).filter(|value| *value > limit);
        if let Some(age) = above("queue_age_ms", 1_000.0) {
            say(
                Tone::Bad,
                format!("entries wait {} for the log", shown(age, Unit::Ms)),
            );
        }
        if let Some(refused) = above("rejected", 1.0) {
            say(
                Tone::Warn,
                format!("{} sends a second are refused", shown(refused, Unit::Count)),
            );
        }
        if let Some(p99) = above("ack_p99_ms", 100.0) {
            say(
                Tone::Warn,
                format!("acknowledgements take {} (p99)", shown(p99, Unit::Ms)),
            );
        }
        if let Some(p99) = above("delivery_p99_ms", 250.0) {
            say(
                Tone::Warn,
                format!("deliveries take {} (p99)", shown(p99, Unit::Ms)),
            );
        }
    }
    lines.extend(missing_roles(fleet));
    lines.extend(busy_machines(fleet));
    lines
}

/// Parts without which a cluster is of little use, where nobody is told of who has them.
fn missing_roles(fleet: &Fleet) -> impl Iterator<Item = Line> {
    let has = |role: &str| fleet.processes().any(|process| process.role == role);
    let known = fleet.is_complete() && has("gateway");
    let missing = [
        (
            "worker",
            "no worker: nothing comes into the database, joining and leaving fail",
        ),
        ("auth", "no authentication service: nobody can log in"),
    ];
    let missing = missing.map(|(role, what)| (known && !has(role)).then_some(what));
    let line = |what| Line::of(Tone::Bad, format!("! there is {what}"));
    missing.into_iter().flatten().map(line)
}

/// Machines whose processes of ours leave hardly any core free.
fn busy_machines(fleet: &Fleet) -> impl Iterator<Item = Line> {
    let busy = |(machine, (cores, used)): (&str, (u32, f64))| {
        let is_busy = used > 0.9 * f64::from(cores);
        let used = shown(used, Unit::Cores);
        let what = format!("! {}: {used} of {cores} cores are busy", visible(machine));
        is_busy.then(|| Line::of(Tone::Warn, what))
    };
    machines(fleet).into_iter().filter_map(busy)
}

/// The cores of each machine, which its processes share, and how much of them they use.
fn machines(fleet: &Fleet) -> BTreeMap<&str, (u32, f64)> {
    let mut found = BTreeMap::new();
    for process in fleet.processes() {
        let unnamed = process.machine.is_empty();
        let machine = if unnamed {
            &process.name
        } else {
            &process.machine
        };
        let (cores, used) = found.entry(machine.as_str()).or_insert((0, 0.0));
        *cores = process.cores.max(*cores);
        *used += newest(process, "cpu_cores").unwrap_or_default();
    }
    found
}

/// A row for each process, under a head; a sum where there are several.
fn rows(fleet: &Fleet, now: i64) -> Vec<Line> {
    let names = fleet
        .processes()
        .map(|it| visible(&it.name).chars().count());
    let width = names.max().unwrap_or(0).max("PROCESS".len());
    let head = format!(
        "{:width$}  {:>8} {:>7} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>7} {:>8} {:>9} {:>9}",
        "PROCESS",
        "STATE",
        "UP",
        "SOCKETS",
        "MSG/S",
        "DELIV/S",
        "ACK p50",
        "ACK p99",
        "DEL p99",
        "QUEUE",
        "AGE",
        "CPU",
        "MEMORY",
    );
    let mut lines = vec![Line::of(Tone::Soft, head)];
    for process in fleet.processes() {
        let up = lasted(now - process.started_at.as_ms() / 1000);
        let tone = match process.state.as_str() {
            "serving" => Tone::Good,
            _ => Tone::Warn,
        };
        let name = format!("{:width$}  ", visible(&process.name));
        let state = format!("{:>8} ", visible(&process.state));
        let of = |name: &str| newest(process, name);
        let rest = format!("{up:>7} {}", figures(of, process.cores));
        lines.push(
            Line::of(Tone::Strong, name)
                .and(tone, state)
                .and(Tone::Plain, rest),
        );
    }
    if fleet.processes().len() > 1 {
        let of = |name: &str| {
            let worst = name.ends_with("_ms");
            let values = together(fleet.processes(), name, worst, 3);
            values.iter().rev().find_map(|value| *value)
        };
        let cores = machines(fleet).values().map(|(cores, _)| cores).sum();
        let rest = format!("{:>8} {:>7} {}", "", "", figures(of, cores));
        lines.push(Line::of(Tone::Strong, format!("{:width$}  ", "all")).and(Tone::Plain, rest));
    }
    lines
}

fn figures(of: impl Fn(&str) -> Option<f64>, cores: u32) -> String {
    let told = |name, unit| of(name).map_or("-".to_owned(), |value| shown(value, unit));
    format!(
        "{:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>7} {:>8} {:>9} {:>9}",
        told("connections", Unit::Count),
        told("messages", Unit::Count),
        told("deliveries", Unit::Count),
        told("ack_p50_ms", Unit::Ms),
        told("ack_p99_ms", Unit::Ms),
        told("delivery_p99_ms", Unit::Ms),
        told("queue", Unit::Count),
        told("queue_age_ms", Unit::Ms),
        format!("{}/{cores}", told("cpu_cores", Unit::Cores)),
        told("memory_bytes", Unit::Bytes),
    )
}

fn chart(fleet: &Fleet, title: &str, name: &str, unit: Unit, worst: bool, width: usize) -> Line {
    let values = together(fleet.processes(), name, worst, width);
    let known = values.iter().flatten().copied();
    let most = known.fold(f64::NAN, f64::max);
    let now = values.iter().rev().take(3).find_map(|value| *value);
    let told = |value: Option<f64>| value.map_or("-".to_owned(), |value| shown(value, unit));
    let (now, top) = (told(now), told(most.is_finite().then_some(most)));
    Line::of(Tone::Plain, format!("{title:TITLE$}{now:>FIGURE$}"))
        .and(Tone::Soft, format!("{top:>FIGURE$}  "))
        .and(Tone::Graph, bars(&values, most))
}

/// A bar for each value, the highest for `most`; a dot for 0, nothing for none.
fn bars(values: &[Option<f64>], most: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if *value <= 0.0 || most <= 0.0 => '·',
        Some(value) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 8"
            )]
            let height = (value / most * 8.0).ceil() as usize;
            BARS[height.clamp(1, 8) - 1]
        }
    };
    values.iter().map(bar).collect()
}

/// A value with its unit, as short as it can be told.
fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count if value >= 999_500.0 => format!("{:.2}M", value / 1e6),
        Unit::Count if value >= 99_950.0 => format!("{:.0}k", value / 1e3),
        Unit::Count if value < 10.0 && value.fract() > 0.05 => format!("{value:.1}"),
        Unit::Count => format!("{value:.0}"),
        Unit::Ms if value >= 1_000.0 => format!("{:.1}s", value / 1e3),
        Unit::Ms if value >= 10.0 || value == 0.0 => format!("{value:.0}ms"),
        Unit::Ms => format!("{value:.1}ms"),
        Unit::Cores => format!("{value:.2}"),
        Unit::Bytes => bytes(value),
    }
}

fn bytes(mut value: f64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    let decimals = usize::from(value < 10.0 && unit != "B");
    format!("{value:.decimals$}{unit}")
}

fn lasted(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..90 => format!("{seconds}s"),
        seconds @ ..5_400 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use banter_client::admin::Process;

    use super::super::figures::tests::{fleet, process};
    use super::*;

    fn busy(name: &str) -> Process {
        process(
            name,
            100,
            &[
                ("connections", &[1.0, 2.0, 4.0]),
                ("messages", &[0.0, 1_000.0, 123_456.0]),
                ("ack_p99_ms", &[f64::NAN, 3.21, 432.1]),
                ("cpu_cores", &[0.1, 0.2, 0.25]),
                ("memory_bytes", &[1e6, 1e7, 52_428_800.0]),
            ],
        )
    }

    #[test]
    fn a_table_has_a_row_for_each_process_and_a_sum() {
        let one = table(&fleet(vec![busy("a")]), 1_795_000_000);
        assert_eq!(one.lines().count(), 3, "{one}");
        assert!(
            one.contains("123k") && one.contains("50MiB") && one.contains("0.25/2"),
            "{one}"
        );
        assert!(
            one.lines()
                .last()
                .is_some_and(|it| it.contains("432ms (p99)")),
            "{one}"
        );
        let two = table(&fleet(vec![busy("a"), busy("b")]), 1_795_000_000);
        let sum = two.lines().find(|line| line.starts_with("all ")).unwrap();
        assert!(
            sum.contains("247k") && sum.contains("0.50/2") && sum.contains("432ms"),
            "one machine has its cores once: {sum}"
        );
        let mut elsewhere = busy("b");
        elsewhere.machine = "there".to_owned();
        let two = table(&fleet(vec![busy("a"), elsewhere]), 1_795_000_000);
        assert!(two.contains("0.50/4"), "{two}");
    }

    #[test]
    fn processes_keep_their_machine_busy_together() {
        let half = |name| process(name, 100, &[("cpu_cores", &[0.95])]);
        let alone = table(&fleet(vec![half("a")]), 0);
        assert!(!alone.contains("are busy"), "{alone}");
        let both = table(&fleet(vec![half("a"), half("b")]), 0);
        assert!(both.contains("here: 1.90 of 2 cores are busy"), "{both}");
    }

    #[test]
    fn a_part_that_a_cluster_lacks_is_said() {
        let of = |roles: &[&str]| {
            let part = |role: &&str| Process {
                role: (*role).to_owned(),
                ..busy(role)
            };
            table(&fleet(roles.iter().map(part).collect()), 0)
        };
        let whole = of(&["gateway", "worker", "auth"]);
        assert!(!whole.contains("there is no"), "{whole}");
        let lacks = of(&["gateway", "worker"]);
        assert!(
            lacks.contains("there is no authentication service"),
            "{lacks}"
        );
        let lacks = of(&["gateway", "auth"]);
        assert!(lacks.contains("there is no worker"), "{lacks}");
        assert!(!of(&["all"]).contains("there is no"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut ill = busy("a\u{1b}[2J");
        ill.dependencies.insert("log".into(), "down".into());
        ill.state = "draining".into();
        let text = table(&fleet(vec![ill]), 0);
        assert!(
            text.contains("log is down") && text.contains(": draining"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn bars_are_as_high_as_their_values() {
        let values = [None, Some(0.0), Some(0.1), Some(4.0), Some(8.0)];
        assert_eq!(bars(&values, 8.0), " ·▁▄█");
        assert_eq!(bars(&[Some(0.0)], 0.0), "·");
    }

    #[test]
    fn lines_fit_the_terminal_they_are_made_for() {
        let lines = screen(&fleet(vec![busy("a")]), 0, 100);
        for line in &lines[lines.len() - CHARTS.len()..] {
            assert!(line.plain().chars().count() <= 100, "{}", line.plain());
        }
    }
}
