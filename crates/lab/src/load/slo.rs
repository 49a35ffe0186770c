//! Demands on a run, and the verdict.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::sample::Measure;

/// Something that can be demanded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subject {
    /// A share of all times of a measure stays below a limit in milliseconds; 1.0 is the maximum.
    Time(Measure, f64),
    /// Of 100 operations so many went wrong.
    Errors,
    /// Deliveries a second.
    Deliveries,
    /// Accepted messages a second.
    Acked,
    /// Age of the oldest entry that waits to be stored, at its highest, in milliseconds.
    QueueAge,
    /// Growth of memory or open files while it was measured, in percent, of the process that grew
    /// most.
    Growth,
}

/// One demand.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// Of what.
    pub subject: Subject,
    /// Whether it must be below the limit; else above.
    pub below: bool,
    /// The limit: milliseconds, percent, or so many a second.
    pub limit: f64,
    text: String,
}

/// All demands on a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo(pub Vec<Demand>);

/// It is no demand, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: {1}")]
pub struct NoDemand(String, &'static str);

/// Shares by the names that they have in demands and tables.
pub const SHARES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

impl Subject {
    /// Of what it is measured.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Time(..) | Self::QueueAge => "ms",
            Self::Errors | Self::Growth => "%",
            Self::Deliveries | Self::Acked => "/s",
        }
    }
}

impl FromStr for Demand {
    type Err = NoDemand;

    fn from_str(text: &str) -> Result<Self, NoDemand> {
        let no = |why| NoDemand(text.to_owned(), why);
        let at = text.find(['<', '>']);
        let at = at.ok_or_else(|| no("a demand has < or >, as in ack_p99<100ms"))?;
        let (name, limit) = (text[..at].trim(), text[at + 1..].trim());
        let unit_at = limit.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = limit.split_at(unit_at.unwrap_or(limit.len()));
        let number: f64 = number.parse().map_err(|_| no("the limit is no number"))?;
        let (subject, scale) = match (name, unit) {
            ("errors", "%") => (Subject::Errors, 1.0),
            ("growth", "%") => (Subject::Growth, 1.0),
            ("errors" | "growth", _) => return Err(no("errors and growth are demanded in %")),
            ("deliveries", "" | "/s") => (Subject::Deliveries, 1.0),
            ("acked", "" | "/s") => (Subject::Acked, 1.0),
            _ => {
                let queue = (name == "queue_age").then_some(Subject::QueueAge);
                let subject = queue
                    .or_else(|| time(name))
                    .ok_or_else(|| no("nothing is measured by this name"))?;
                let scale = match unit {
                    "us" | "µs" => 1e-3,
                    "ms" => 1.0,
                    "s" => 1e3,
                    _ => return Err(no("a time is in ms, s or us")),
                };
                (subject, scale)
            }
        };
        Ok(Self {
            subject,
            below: text.as_bytes()[at] == b'<',
            limit: number * scale,
            text: text.trim().to_owned(),
        })
    }
}

fn time(name: &str) -> Option<Subject> {
    let (measure, share) = name.split_once('_')?;
    let measure = Measure::ALL.into_iter().find(|m| m.name() == measure)?;
    let share = SHARES.iter().find(|(known, _)| *known == share)?.1;
    Some(Subject::Time(measure, share))
}

impl FromStr for Slo {
    type Err = NoDemand;

    fn from_str(text: &str) -> Result<Self, NoDemand> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|demand| demand.text.as_str()).collect();
        f.write_str(&texts.join(","))
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "reasons", rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Everything demanded was so, and nothing was lost.
    #[default]
    Pass,
    /// Something was not, and the server is the reason.
    Fail(Vec<String>),
    /// Nothing can be said: the generator or the machine was the limit.
    Invalid(Vec<String>),
}

impl Verdict {
    /// The exit code of who reports it.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail(_) => 3,
            Self::Invalid(_) => 4,
        }
    }

    /// One word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail(_) => "FAIL",
            Self::Invalid(_) => "INVALID",
        }
    }

    /// Why.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        match self {
            Self::Pass => &[],
            Self::Fail(reasons) | Self::Invalid(reasons) => reasons,
        }
    }
}

/// One demand and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// The demand, as it was written.
    pub demand: String,
    /// What was measured; `None`: nothing.
    pub measured: Option<f64>,
    /// Of what: `ms`, `%` or `/s`.
    pub unit: &'static str,
    /// Whether it is as demanded.
    pub met: bool,
}

impl Judged {
    /// What was measured, in words.
    #[must_use]
    pub fn measured(&self) -> String {
        match self.measured {
            Some(measured) => format!("{} {}", number(measured), self.unit),
            None => "nothing measured".to_owned(),
        }
    }
}

/// What a verdict is made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// Each demand, judged.
    pub judged: Vec<Judged>,
    /// Broken promises of the audit.
    pub violations: Vec<String>,
    /// What was missed that everybody demands: to be let in.
    pub missed: Vec<String>,
    /// Why the load was not the one that was asked for.
    pub not_put: Vec<String>,
    /// What else may have made it slow: the generator, other programs.
    pub disturbed: Vec<String>,
}

impl Evidence {
    /// A broken promise is the server's whatever the machine did. A load that was not put proves
    /// nothing. A demand that was met on a disturbed machine is met; one that was not may be the
    /// machine's doing.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.violations.is_empty() {
            return Verdict::Fail(self.violations.clone());
        }
        if !self.not_put.is_empty() {
            return Verdict::Invalid(self.not_put.clone());
        }
        let nothing = self
            .judged
            .iter()
            .filter(|judged| judged.measured.is_none());
        let nothing: Vec<_> = nothing
            .map(|judged| format!("{}: nothing of it was measured", judged.demand))
            .collect();
        let unmet = self.judged.iter().filter(|judged| !judged.met);
        let unmet = unmet.filter_map(|judged| {
            judged.measured?;
            Some(format!("{}: it was {}", judged.demand, judged.measured()))
        });
        let missed: Vec<_> = self.missed.iter().cloned().chain(unmet).collect();
        if missed.is_empty() {
            return if nothing.is_empty() {
                Verdict::Pass
            } else {
                Verdict::Invalid(nothing)
            };
        }
        if self.disturbed.is_empty() {
            return Verdict::Fail(missed);
        }
        let mut reasons = self.disturbed.clone();
        reasons.extend(missed);
        Verdict::Invalid(reasons)
    }
}

/// A number as people want to read it.
#[must_use]
pub fn number(value: f64) -> String {
    match value {
        _ if value >= 1000.0 => grouped(value),
        _ if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A count as people want to read it.
#[must_use]
pub fn whole(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    grouped(count as f64)
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_read() {
        let text = "delivery_p99<250ms,ack_p99.9<1s,errors<0.01%,deliveries>50000,queue_age<5s";
        let slo: Slo = text.parse().unwrap();
        assert_eq!(slo.to_string(), text);
        let limits: Vec<_> = slo.0.iter().map(|demand| demand.limit).collect();
        assert_eq!(limits, [250.0, 1000.0, 0.01, 50_000.0, 5_000.0]);
        assert_eq!(slo.0[4].subject, Subject::QueueAge);
        assert_eq!(slo.0[1].subject, Subject::Time(Measure::Ack, 0.999));
        assert!(!slo.0[3].below);
        for wrong in [
            "ack",
            "ack_p99<100",
            "ack_p98<1s",
            "errors<5",
            "x_p99<1s",
            "ack_p99<ms",
        ] {
            let refused = wrong.parse::<Slo>().unwrap_err().to_string();
            assert!(refused.starts_with(wrong), "{refused}");
        }
    }

    #[test]
    fn a_verdict_has_its_reasons_in_order() {
        let judged = |measured, met| Judged {
            demand: "ack_p99<1ms".to_owned(),
            measured,
            unit: "ms",
            met,
        };
        let of = |judged, disturbed: &[&str]| Evidence {
            judged: vec![judged],
            disturbed: disturbed.iter().map(|&text| text.to_owned()).collect(),
            ..Evidence::default()
        };
        let (good, bad) = (judged(Some(0.5), true), judged(Some(2.0), false));
        assert_eq!(of(good.clone(), &[]).verdict(), Verdict::Pass);
        // Slower than it could have been, and still fast enough.
        assert_eq!(of(good.clone(), &["busy"]).verdict(), Verdict::Pass);
        assert_eq!(of(bad.clone(), &[]).verdict().code(), 3);
        assert_eq!(of(bad, &["busy"]).verdict().code(), 4);
        assert_eq!(of(judged(None, false), &[]).verdict().code(), 4);
        let lost = Evidence {
            violations: vec!["lost".to_owned()],
            ..of(good.clone(), &["busy"])
        };
        assert_eq!(lost.verdict().code(), 3);
        let kept_out = Evidence {
            missed: vec!["kept out".to_owned()],
            ..of(good.clone(), &[])
        };
        assert_eq!(
            kept_out.verdict(),
            Verdict::Fail(vec!["kept out".to_owned()])
        );
        let not_put = Evidence {
            not_put: vec!["half".to_owned()],
            ..of(good, &[])
        };
        assert_eq!(not_put.verdict().code(), 4);
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 5.0, 0.123, 12.34, 123.4, 1234.5, 1_234_567.0].map(number);
        assert_eq!(
            numbers,
            ["0", "5", "0.12", "12.3", "123", "1,234", "1,234,567"]
        );
        assert_eq!([12, 1_234].map(whole), ["12", "1,234"]);
    }
}
