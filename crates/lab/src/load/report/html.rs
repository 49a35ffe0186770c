//! The report as one HTML file: no script, nothing from elsewhere, in light and dark.

use std::fmt::Write as _;

use super::Report;
use super::chart::{Chart, Mark, escape};
use super::figure::figures;
use crate::load::outcome::Outcome;
use crate::load::sample::{Count, Measure};
use crate::load::slo::{SHARES, Verdict, number, whole};

const STYLE: &str = include_str!("page.css");

/// The report as a page.
#[must_use]
pub fn html(report: &Report) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    let title = match report.runs.first() {
        Some(run) => format!(
            "Banter load: {} {}",
            escape(&run.profile),
            report.verdict.word()
        ),
        None => "Banter load".to_owned(),
    };
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<title>{title}</title><style>\n{STYLE}</style></head><body>\n"
    );
    let _ = writeln!(page, "<h1>{title}</h1>");
    let _ = writeln!(
        page,
        "<p class=\"soft\">{} · {}</p><p><code>{}</code></p>",
        escape(&report.started_at),
        escape(&report.machine.to_string()),
        escape(&report.command)
    );
    if !report.notes.is_empty() {
        let word = report.verdict.word();
        let _ = write!(page, "<div class=\"verdict {word}\"><b>{word}</b>");
        list(&mut page, report.verdict.reasons());
        list(&mut page, &report.notes);
        page.push_str("</div>\n");
    }
    if report.runs.len() > 1 {
        compared(&mut page, &report.runs);
    }
    for run in &report.runs {
        one(&mut page, run);
    }
    page.push_str("</body></html>\n");
    page
}

fn list(page: &mut String, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    page.push_str("<ul class=\"list\">");
    for line in lines {
        let _ = write!(page, "<li>{}</li>", escape(line));
    }
    page.push_str("</ul>\n");
}

fn table(page: &mut String, head: &[&str], rows: &[Vec<String>]) {
    page.push_str("<div class=\"wide\"><table><tr>");
    for cell in head {
        let _ = write!(page, "<th>{cell}</th>");
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

fn compared(page: &mut String, runs: &[Outcome]) {
    page.push_str("<h2>Side by side</h2>");
    let (head, rows) = crate::load::compare::compared(runs);
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(page, &head, &rows);
}

fn one(page: &mut String, run: &Outcome) {
    let _ = writeln!(
        page,
        "<h2>{} users, {}</h2><p>{}; {} actions/s for {} s: \
         {} messages/s accepted{}, {} deliveries/s, {} HTTP calls/s</p>",
        whole(run.users.into()),
        escape(&run.profile),
        crate::load::text::channels(run),
        number(run.rate),
        run.seconds,
        number(run.per_second(Count::Acked)),
        crate::load::text::stored(run),
        number(run.per_second(Count::Deliveries)),
        number(run.per_second(Count::Calls)),
    );
    verdict(page, run);
    page.push_str("<h3>Latency in ms, from the moment at which it was due</h3>");
    let mut head = vec!["", "count"];
    head.extend(SHARES.map(|(name, _)| name));
    let rows = run.times.iter().map(|row| {
        let name = match row.measure {
            Measure::Late => "the generator itself",
            measure => measure.name(),
        };
        let mut cells = vec![name.to_owned(), whole(row.count)];
        cells.extend(row.ms.iter().map(|ms| number(*ms)));
        cells
    });
    table(page, &head, &rows.collect::<Vec<_>>());
    processes(page, run);
    if !run.followed.is_empty() {
        page.push_str("<h3>Whether it takes more and more</h3>");
        let rows: Vec<Vec<String>> = crate::load::soak::rows(&run.followed)
            .iter()
            .map(|row| row.iter().map(|cell| escape(cell)).collect())
            .collect();
        table(page, &crate::load::soak::HEAD, &rows);
    }
    charts(page, run);
}

fn verdict(page: &mut String, run: &Outcome) {
    let word = run.verdict.word();
    let _ = write!(page, "<div class=\"verdict {word}\"><b>{word}</b>");
    if let Verdict::Fail(reasons) | Verdict::Invalid(reasons) = &run.verdict {
        list(page, reasons);
    }
    page.push_str("<p>");
    for judged in &run.judged {
        let (class, mark) = match judged.met {
            true => ("met", "✓"),
            false => ("missed", "✗"),
        };
        let measured = judged.measured();
        let demand = escape(&judged.demand);
        let _ = write!(
            page,
            "<span class=\"{class}\">{mark}</span> {demand} ({measured}) "
        );
    }
    page.push_str("</p>");
    let audit = &run.audit;
    let judgement = match audit.violations {
        0 => "every message was received once and in order".to_owned(),
        found => format!("{} broken promises", whole(found)),
    };
    let _ = write!(
        page,
        "<p>Audit: {} messages sent, {} acked, {} refused, {} of unknown fate; {} deliveries \
         and {} entries of history checked: {judgement}.</p>",
        whole(audit.sent),
        whole(audit.acked),
        whole(audit.refused),
        whole(audit.open),
        whole(audit.deliveries),
        whole(audit.entries)
    );
    let faults: Vec<_> = run.marks.iter().map(crate::load::text::fault).collect();
    list(page, &faults);
    list(page, &run.findings);
    list(page, &run.remarks);
    if !run.errors.is_empty() {
        let kinds = run.errors.iter();
        let kinds: Vec<_> = kinds.map(|(kind, n)| format!("{kind} {n}")).collect();
        let kinds = escape(&kinds.join(", "));
        let percent = run.errors_percent;
        let _ = write!(page, "<p>Errors: {kinds} ({percent:.3}% of operations)</p>");
    }
    page.push_str("</div>\n");
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn processes(page: &mut String, run: &Outcome) {
    page.push_str("<h3>What it cost</h3>");
    let mut rows: Vec<Vec<String>> = run
        .processes
        .iter()
        .map(|process| {
            vec![
                escape(&process.watched.name),
                format!("{:.2}", process.cores),
                format!("{:.1}", process.cpu_seconds),
                format!("{:.1}", process.memory_max as f64 / 1e6),
                process.files_max.to_string(),
            ]
        })
        .collect();
    for (name, cores) in [
        ("generators", run.generator_cores),
        ("other programs", run.others),
    ] {
        let cores = format!("{cores:.2}");
        rows.push(vec![
            name.to_owned(),
            cores,
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    table(page, &["", "cores", "CPU s", "memory MB", "files"], &rows);
    let [one, five, fifteen] = run.load;
    let _ = writeln!(
        page,
        "<p class=\"soft\">Load average at the end: {one:.2} {five:.2} {fifteen:.2}. {}</p>",
        crate::load::text::memory_of_a_socket(run).unwrap_or_default()
    );
}

fn charts(page: &mut String, run: &Outcome) {
    let marks = run.marks.iter().map(|mark| Mark {
        second: mark.second,
        text: mark.text.clone(),
    });
    let marks: Vec<_> = marks.collect();
    page.push_str("<h3>Second by second</h3>");
    if run.warm_up > 0 {
        page.push_str("<p class=\"soft\">Grey: the warm-up, which does not count.</p>");
    }
    page.push_str("<div class=\"charts\">\n");
    for (title, unit, lines) in figures(run) {
        let chart = Chart {
            title,
            unit,
            lines,
            marks: &marks,
            warm_up: run.warm_up,
            last: (run.warm_up + run.seconds).saturating_sub(1),
        };
        page.push_str(&chart.html());
    }
    page.push_str("</div>\n");
}
