//! Fills what was found into docs/scalability.md, between the marks of each experiment.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::experiment::{ALL, Experiment};
use super::run::kept;
use super::told::{Kept, P50, P99, Ran};
use super::{chart, conclusion, table};

/// The document, below the project's folder.
const DOCUMENT: &str = "docs/scalability.md";
/// Its charts, beside it.
const CHARTS: &str = "docs/charts";
/// Roles in a chart, and their names.
const SERVICES: [(&str, &str); 7] = [
    ("serve", "one process"),
    ("gateway", "gateways"),
    ("redis", "Redis"),
    ("nginx", "NGINX"),
    ("worker", "workers"),
    ("postgres", "PostgreSQL"),
    ("auth", "auth"),
];

/// Makes tables, sentences and charts of every experiment of which something is kept in `home`.
///
/// # Errors
/// A file cannot be read or written, or the document has lost its marks.
pub fn draw(home: &Path, project: &Path) -> Result<()> {
    let document = project.join(DOCUMENT);
    let mut text = fs::read_to_string(&document).context("read docs/scalability.md")?;
    for experiment in ALL {
        let Ok(found) = fs::read(kept(home, experiment.name)) else {
            continue;
        };
        let found: Kept = serde_json::from_slice(&found).context("read what was kept")?;
        text = filled(&text, experiment.name, &section(experiment, &found))?;
        if let Some(svg) = drawing(experiment, &found) {
            let folder = project.join(CHARTS);
            fs::create_dir_all(&folder).context("make docs/charts")?;
            let file = folder.join(format!("{}.svg", experiment.name));
            fs::write(file, svg).context("write a chart")?;
        }
    }
    fs::write(&document, text).context("write docs/scalability.md")
}

/// The text with another section between the marks of this name.
fn filled(text: &str, name: &str, section: &str) -> Result<String> {
    let marks = [format!("<!-- {name} -->"), format!("<!-- /{name} -->")];
    let parts = text.split_once(&marks[0]).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&marks[1])?;
        Some((before, after))
    });
    let (before, after) = parts.with_context(|| format!("find {} in {DOCUMENT}", marks[0]))?;
    Ok(format!(
        "{before}{}\n\n{section}\n{}{after}",
        marks[0], marks[1]
    ))
}

/// What the document shows of an experiment.
fn section(experiment: &Experiment, found: &Kept) -> String {
    let mut text = String::new();
    if let Some((_, told)) = found.reports.first() {
        text.push_str(&conclusion::machine(told));
    }
    let mut commands: Vec<&str> = Vec::new();
    for (_, told) in &found.reports {
        if !commands.contains(&told.command.as_str()) {
            commands.push(&told.command);
        }
    }
    for command in commands {
        let command = command.replace('{', "").replace('}', ".toml");
        let _ = write!(text, "\n    banter {command}");
    }
    text.push_str("\n\n");
    let runs = columns(found);
    if experiment.name == "stress" {
        text.push_str(&table::limits(&found.reports));
        text.push('\n');
        text.push_str(&conclusion::audit(&runs));
        return text;
    }
    text.push_str(&table::table(&runs, runs.len() > 1));
    text.push('\n');
    text.push_str(&match experiment.name {
        "instances" => conclusion::instances(&runs),
        "batches" => conclusion::batches(&runs),
        "hearing" => conclusion::hearing(&runs),
        "logins" => conclusion::logins(&runs),
        _ => conclusion::growth(&runs),
    });
    text.push_str(&conclusion::audit(&runs));
    text
}

/// Every run with the head of its column.
fn columns(found: &Kept) -> Vec<(String, &Ran)> {
    let mut columns = Vec::new();
    for (label, told) in &found.reports {
        for ran in &told.runs {
            let head = match label.as_str() {
                "" => format!("`{}`", ran.profile),
                label => label.to_owned(),
            };
            columns.push((head, ran));
        }
    }
    columns
}

fn drawing(experiment: &Experiment, found: &Kept) -> Option<String> {
    let runs = columns(found);
    let named = |(head, ran): &(String, &Ran)| match head.strip_prefix('`') {
        Some(_) => format!("{}, {} people", ran.profile, ran.users),
        None => head.clone(),
    };
    Some(match experiment.name {
        "one-process" | "cluster" => {
            let bars = runs.iter().map(|run| {
                let time = |place| run.1.time("delivery", place).unwrap_or(0.0);
                (named(run), vec![time(P50), time(P99) - time(P50)])
            });
            let title = "Delivery: median, and p99, in milliseconds";
            chart::bars(title, &["median", "up to p99"], &bars.collect::<Vec<_>>())
        }
        "stress" => return None,
        _ => {
            let here = |role: &str| runs.iter().any(|(_, ran)| ran.cores(role).is_some());
            let services: Vec<_> = SERVICES.iter().filter(|(role, _)| here(role)).collect();
            let bars = runs.iter().map(|run| {
                let cores = services
                    .iter()
                    .map(|(role, _)| run.1.cores(role).unwrap_or(0.0));
                (named(run), cores.collect())
            });
            let names: Vec<_> = services.iter().map(|(_, name)| *name).collect();
            chart::bars("Cores that were busy", &names, &bars.collect::<Vec<_>>())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        fs::read_to_string(Path::new("../..").join(DOCUMENT)).unwrap()
    }

    #[test]
    fn the_document_has_a_place_for_each_experiment() {
        let text = text();
        for experiment in ALL {
            assert!(
                filled(&text, experiment.name, "x").is_ok(),
                "{}",
                experiment.name
            );
        }
        let marks = text.matches("<!-- /").count();
        assert_eq!(marks, ALL.len(), "a place of no experiment");
    }

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let text = "a\n<!-- x -->old<!-- /x -->\nb <!-- y --><!-- /y -->";
        let filled = filled(text, "x", "new\n").unwrap();
        assert_eq!(
            filled,
            "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb <!-- y --><!-- /y -->"
        );
    }

    #[test]
    fn figures_become_columns_and_sentences() {
        let ran = |us: f64| {
            serde_json::json!({
                "profile": "rooms", "users": 1000, "rate": 500.0, "seconds": 10,
                "counts": {"acked": 5000, "deliveries": 50_000}, "errors_percent": 0.0,
                "times": [{"measure": "ack", "ms": [1, 2, 3, 4, 5, 6]}],
                "processes": [
                    {"role": "worker", "cores": 0.1, "cpu_seconds": us * 0.004, "memory_max": 2e7},
                    {"role": "postgres", "cores": 0.1, "cpu_seconds": us * 0.001, "memory_max": 3e7},
                ],
                "generator_cores": 0.2, "others": 0.01, "load": [1.5, 1.0, 0.5], "stored": 500.0,
                "audit": {"violations": 0}, "verdict": "PASS", "more": "is passed over",
            })
        };
        let told = |us| {
            serde_json::json!({
                "command": "load --profile rooms", "started_at": "2026-01-02T03:04:05Z",
                "machine": {"processor": "P", "cores": 2, "memory_gb": 4, "kernel": "6", "binary": "banter 0"},
                "runs": [ran(us)],
            })
        };
        let found =
            serde_json::json!({"reports": [["one row", told(300.0)], ["batches", told(30.0)]]});
        let found: Kept = serde_json::from_value(found).unwrap();
        let experiment = ALL.iter().find(|it| it.name == "batches").unwrap();
        let text = section(experiment, &found);
        for line in [
            "Measured on 2026-01-02 with banter 0 on 2 cores of P, 4 GB, Linux 6.\n",
            "\n    banter load --profile rooms\n",
            "| | one row | batches |\n|---|---|---|\n| users | 1,000 | 1,000 |\n| messages/s | 500 | 500 |\n",
            "| ack, ms | 1 / 2 / 3 / 4 | 1 / 2 / 3 / 4 |\n",
            "| memory of all, MB | 50 | 50 |\n",
            "| CPU for a stored row, µs | 300 | 30 |\n",
            "took 300 µs of CPU for a row; with batches 30 µs: 10 times as much",
        ] {
            assert!(text.contains(line), "no {line:?} in {text}");
        }
        assert!(!text.contains("Redis |"), "{text}");
        let svg = drawing(experiment, &found).unwrap();
        assert_eq!(svg.matches("<rect").count(), 2 * 2 + 2, "{svg}");
    }
}
