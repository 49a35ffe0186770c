//! The report for a terminal.

use std::fmt::Write as _;

use super::fault::Mark;
use super::outcome::{Outcome, Second};
use super::profile::Span;
use super::run::Load;
use super::sample::{Count, Measure};
use super::slo::{SHARES, Verdict, number, whole};
use super::soak;
use super::watch::Look;

/// A line of the living view is no longer, where parts can be put on the next one.
const COLUMNS: usize = 78;

/// A second that is over, in a few short lines: how far it is, what was done, what it cost.
#[must_use]
pub fn second(second: &Second, left: u32, names: &[String]) -> Vec<String> {
    let count = |count| whole(second.counts.get(&count).copied().unwrap_or(0));
    let mut done = format!(
        "{:>7} sent/s {:>9} deliveries/s {:>6} calls/s",
        count(Count::Sent),
        count(Count::Deliveries),
        count(Count::Calls),
    );
    for measure in [Measure::Ack, Measure::Delivery, Measure::History] {
        if let Some([_, p99, _]) = second.times.get(&measure) {
            let _ = write!(done, "  {} p99 {} ms", measure.name(), number(*p99));
        }
    }
    let errors: u64 = second.errors.values().sum();
    if errors > 0 {
        let kinds: Vec<_> = second.errors.keys().map(String::as_str).collect();
        let _ = write!(done, "  {} errors ({})", whole(errors), kinds.join(", "));
    }
    let mut lines = vec![progress(second, left), done];
    if let Some(look) = &second.look {
        lines.extend(costs_of(look, names));
    }
    lines
}

/// The same on one line, for where there is no terminal.
#[must_use]
pub fn plain(second: &Second, left: u32, names: &[String]) -> String {
    let lines = self::second(second, left, names);
    let over = second.second + 1;
    format!(
        "{over:>4} s, {left} s left: {}",
        lines[1..].join("; ").trim_start()
    )
}

fn progress(second: &Second, left: u32) -> String {
    const WIDTH: u32 = 30;
    let over = second.second + 1;
    let filled = over * WIDTH / (over + left).max(1);
    let (filled, empty) = (filled as usize, (WIDTH - filled) as usize);
    format!(
        "{}{}  {over} s, {left} s left, {} sockets",
        "█".repeat(filled),
        "░".repeat(empty),
        whole(second.open.into())
    )
}

/// What a second cost, on as many lines as a narrow terminal needs.
fn costs_of(look: &Look, names: &[String]) -> Vec<String> {
    let each = names.iter().zip(&look.processes);
    let each = each.filter_map(|(name, usage)| {
        let usage = usage.as_ref()?;
        Some(format!("{name} {:.2}", usage.cores))
    });
    let mut parts: Vec<_> = each.collect();
    parts.push(format!("generators {:.2}", look.generators));
    parts.push(format!("others {:.2}", look.others));
    parts.push(format!("load average {:.2}", look.load[0]));
    if let Some(queue) = look.queue {
        let (entries, age) = (number(queue.entries), number(queue.oldest_s));
        parts.push(format!("queue {entries}, {age} s old"));
    }
    let mut lines = vec!["cores: ".to_owned()];
    for (place, part) in parts.iter().enumerate() {
        let room = lines.last().map_or(0, String::len) + part.len() + 2 <= COLUMNS;
        match lines.last_mut().filter(|_| room || place == 0) {
            Some(line) if place == 0 => line.push_str(part),
            Some(line) => *line += &format!(", {part}"),
            None => lines.push(format!("       {part}")),
        }
    }
    lines
}

/// What is going to be done.
#[must_use]
pub fn plan(load: &Load) -> String {
    format!(
        "{} users, profile {} ({}), {} actions/s, {} after {} of warm-up",
        load.users,
        load.name,
        load.profile.about,
        number(load.actions_per_second()),
        Span(load.profile.duration),
        Span(load.profile.warm_up),
    )
}

/// Everything that was found.
#[must_use]
pub fn outcome(outcome: &Outcome) -> String {
    let mut text = String::new();
    rates(outcome, &mut text);
    times(outcome, &mut text);
    costs(outcome, &mut text);
    followed(outcome, &mut text);
    errors(outcome, &mut text);
    audit(outcome, &mut text);
    verdict(outcome, &mut text);
    text
}

/// How many channels there were, and how large.
#[must_use]
pub fn channels(outcome: &Outcome) -> String {
    let (channels, largest) = outcome.channels;
    let largest = whole(largest as u64);
    match channels {
        0 => "no channels".to_owned(),
        1 => format!("one channel of {largest}"),
        _ => format!("{} channels of {largest} at most", whole(channels as u64)),
    }
}

/// What was done to the server, and how it took it.
#[must_use]
pub fn fault(mark: &Mark) -> String {
    let recovered = match mark.recovered_after {
        Some(after) => format!("everything was well again {after} s after it was over"),
        None => "it did not recover while anybody looked".to_owned(),
    };
    format!("fault at {} s: {}: {recovered}", mark.second, mark.text)
}

// Writing to a string cannot fail.
fn rates(outcome: &Outcome, text: &mut String) {
    let _ = writeln!(
        text,
        "{} users in {}: {} messages/s accepted{}, {} deliveries/s, {} HTTP calls/s",
        whole(outcome.users.into()),
        channels(outcome),
        number(outcome.per_second(Count::Acked)),
        stored(outcome),
        number(outcome.per_second(Count::Deliveries)),
        number(outcome.per_second(Count::Calls)),
    );
}

/// How much was written to the database, where it is told.
#[must_use]
pub fn stored(outcome: &Outcome) -> String {
    let stored = outcome.stored;
    stored.map_or_else(String::new, |stored| format!(", {} stored", number(stored)))
}

fn times(outcome: &Outcome, text: &mut String) {
    let _ = write!(text, "\n{:<12}{:>10}", "ms", "count");
    for (share, _) in SHARES {
        let _ = write!(text, "{share:>10}");
    }
    text.push('\n');
    for row in outcome
        .times
        .iter()
        .filter(|row| row.measure != Measure::Late)
    {
        let _ = write!(text, "{:<12}{:>10}", row.measure.name(), whole(row.count));
        for ms in &row.ms {
            let _ = write!(text, "{:>10}", number(*ms));
        }
        text.push('\n');
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn costs(outcome: &Outcome, text: &mut String) {
    if !outcome.processes.is_empty() {
        let _ = writeln!(
            text,
            "\n{:<16}{:>10}{:>12}{:>12}{:>8}",
            "process", "cores", "CPU s", "memory MB", "files"
        );
        for process in &outcome.processes {
            let _ = writeln!(
                text,
                "{:<16}{:>10.2}{:>12.1}{:>12.1}{:>8}",
                process.watched.name,
                process.cores,
                process.cpu_seconds,
                process.memory_max as f64 / 1e6,
                process.files_max
            );
        }
        let deliveries = outcome.counts.get(&Count::Deliveries).copied().unwrap_or(0);
        if deliveries > 0 {
            let us = number(outcome.us_per_delivery());
            let _ = writeln!(text, "{us} µs of CPU a delivery, everything included");
        }
    }
    if let Some(words) = memory_of_a_socket(outcome) {
        let _ = writeln!(text, "{words}");
    }
    if let Some(imbalance) = outcome.imbalance() {
        let percent = number(imbalance * 100.0);
        let _ = writeln!(
            text,
            "sockets of gateways differ by {percent}% of their mean"
        );
    }
    if let Some(age) = outcome.queue_age() {
        let _ = writeln!(
            text,
            "the oldest entry of the queue was {} s old",
            number(age)
        );
    }
    let late = outcome.time(Measure::Late, 0.99).unwrap_or(0.0);
    let [one, five, fifteen] = outcome.load;
    let _ = writeln!(
        text,
        "\n{} generator{}: {:.2} cores, {} µs a delivery, late by {} ms (p99); other programs \
         {:.2} cores; load average {one:.2} {five:.2} {fifteen:.2}",
        outcome.generators,
        if outcome.generators == 1 { "" } else { "s" },
        outcome.generator_cores,
        number(outcome.generator_us_per_delivery()),
        number(late),
        outcome.others,
    );
}

/// What a socket costs, where there are enough to tell.
#[must_use]
pub fn memory_of_a_socket(outcome: &Outcome) -> Option<String> {
    let bytes = outcome.bytes_per_socket?;
    let (kib, users) = (number(bytes / 1024.0), whole(outcome.users.into()));
    Some(format!(
        "{kib} KiB of memory a socket: so much it grew while {users} were opened"
    ))
}

fn followed(outcome: &Outcome, text: &mut String) {
    if outcome.followed.is_empty() {
        return;
    }
    text.push('\n');
    let head = soak::HEAD.map(str::to_owned).to_vec();
    for row in std::iter::once(head).chain(soak::rows(&outcome.followed)) {
        if let [name, what, first, last, slope, course] = row.as_slice() {
            let line = format!("{name:<16}{what:<14}{first:>10}{last:>10}{slope:>32}  {course}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text.push('\n');
}

fn errors(outcome: &Outcome, text: &mut String) {
    if outcome.errors.is_empty() {
        text.push_str("errors: none\n");
        return;
    }
    let kinds = outcome.errors.iter();
    let kinds: Vec<_> = kinds
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let _ = writeln!(
        text,
        "errors: {} ({:.3}% of operations)",
        kinds.join(", "),
        outcome.errors_percent
    );
}

fn audit(outcome: &Outcome, text: &mut String) {
    let audit = &outcome.audit;
    let _ = writeln!(
        text,
        "audit: {} messages sent, {} acked, {} refused, {} of unknown fate;\n       \
         {} deliveries and {} entries of history checked: {}",
        whole(audit.sent),
        whole(audit.acked),
        whole(audit.refused),
        whole(audit.open),
        whole(audit.deliveries),
        whole(audit.entries),
        match audit.violations {
            0 => "every one was received once and in order".to_owned(),
            found => format!("{found} VIOLATIONS"),
        }
    );
    for finding in &outcome.findings {
        let _ = writeln!(text, "  {finding}");
    }
    let told = outcome.findings.len() as u64;
    if audit.violations > told {
        let _ = writeln!(text, "  … and {} more", audit.violations - told);
    }
}

fn verdict(outcome: &Outcome, text: &mut String) {
    for mark in &outcome.marks {
        let _ = writeln!(text, "{}", fault(mark));
    }
    text.push('\n');
    for judged in &outcome.judged {
        let measured = judged.measured();
        let mark = if judged.met { "met" } else { "MISSED" };
        let _ = writeln!(text, "{:<28}{measured:>16}  {mark}", judged.demand);
    }
    for remark in &outcome.remarks {
        let _ = writeln!(text, "note: {remark}");
    }
    let _ = writeln!(text, "{}", outcome.verdict.word());
    if let Verdict::Fail(reasons) | Verdict::Invalid(reasons) = &outcome.verdict {
        for reason in reasons {
            let _ = writeln!(text, "  {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::queue::Depth;
    use crate::load::watch::Usage;

    #[test]
    fn what_a_second_costs_fits_a_narrow_terminal() {
        let names: Vec<_> = (1..=9).map(|number| format!("gateway-{number}")).collect();
        let look = Look {
            processes: vec![Some(Usage::default()); names.len()],
            queue: Some(Depth {
                entries: 12.0,
                oldest_s: 0.5,
            }),
            ..Look::default()
        };
        let lines = costs_of(&look, &names);
        assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{lines:#?}");
        assert!(
            lines[0].starts_with("cores: gateway-1 0.00, gateway-2"),
            "{lines:#?}"
        );
        let all = lines.join(" ");
        assert!(names.iter().all(|name| all.contains(name)), "{lines:#?}");
        assert!(all.ends_with("queue 12, 0.50 s old"), "{lines:#?}");
    }
}
