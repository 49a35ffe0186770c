//! What a load found: series, totals, and what to make of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::engine::NOT_LET_IN;
use super::fault::Mark;
use super::run::Load;
use super::sample::{Count, Measure, Sample};
use super::slo::{Demand, Evidence, Judged, SHARES, Subject, Verdict, number};
use super::soak::Followed;
use super::watch::{Look, Usage, Watched};
use crate::audit::{Audit, Names, Report};
use crate::statistics::{Times, growth};

/// A generator that kept more of a core busy was the limit itself.
const GENERATOR_CORES_MAX: f64 = 0.9;
/// Others that kept more busy disturbed.
pub(super) const OTHERS_CORES_MAX: f64 = 0.2;
/// A generator later than this share of what it measured has a part in it.
const LATE_SHARE_MAX: f64 = 0.2;
/// What is due and was not even tried, in percent, before the load is another one.
const NOT_PUT_PERCENT_MAX: f64 = 1.0;
/// Findings of the audit that are told in full.
const FINDINGS_TOLD: usize = 20;

/// One second of all generators together, and of every process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Second {
    /// Seconds since the load began.
    pub second: u32,
    /// What was counted.
    pub counts: BTreeMap<Count, u64>,
    /// What went wrong.
    pub errors: BTreeMap<String, u64>,
    /// Sockets that are open.
    pub open: u32,
    /// Longest time without any ack that ended in it, in milliseconds.
    pub silence_ms: u64,
    /// Milliseconds: median, p99 and maximum.
    pub times: BTreeMap<Measure, [f64; 3]>,
    /// What it cost.
    pub look: Option<Look>,
    #[serde(skip)]
    sorted: BTreeMap<Measure, Times>,
    #[serde(skip)]
    reported: usize,
}

/// All seconds.
#[derive(Debug)]
pub struct Series {
    generators: usize,
    pub(super) watched: Vec<Watched>,
    seconds: BTreeMap<u32, Second>,
    totals: BTreeMap<Measure, Times>,
    /// First measured second, and the one after the last.
    measured: (u32, u32),
    /// What is wrong with the measurement itself.
    pub(super) objections: Vec<String>,
    /// What was done to the server.
    pub(super) marks: Vec<Mark>,
}

impl Series {
    pub(super) fn new(generators: usize, watched: &[Watched], from: u32, to: u32) -> Self {
        Self {
            generators,
            watched: watched.to_vec(),
            seconds: BTreeMap::new(),
            totals: BTreeMap::new(),
            measured: (from, to),
            objections: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// The second after the last one.
    pub(super) const fn end(&self) -> u32 {
        self.measured.1
    }

    /// The load ends earlier, as it was meant to or not.
    pub(super) fn cut(&mut self, end: u32, meant: bool) {
        self.measured.1 = end.max(self.measured.0 + 1).min(self.measured.1);
        if !meant {
            let why = "it was stopped before its time";
            self.objections.push(why.to_owned());
        }
    }

    pub(super) fn look(&mut self, look: Look) {
        let second = self.seconds.entry(look.second).or_default();
        second.second = look.second;
        second.look = Some(look);
    }

    /// What went wrong, from the first second to the last.
    fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        for second in self.seconds.values() {
            for (kind, value) in &second.errors {
                *errors.entry(kind.clone()).or_default() += value;
            }
        }
        errors
    }

    /// Adds what a generator tells; the second when all have told theirs.
    pub(super) fn add(&mut self, sample: Sample) -> Option<&Second> {
        let number = sample.second.min(self.measured.1.saturating_sub(1));
        let second = self.seconds.entry(number).or_default();
        second.second = number;
        for (count, value) in sample.counts {
            *second.counts.entry(count).or_default() += value;
        }
        for (kind, value) in sample.errors {
            *second.errors.entry(kind).or_default() += value;
        }
        second.open += sample.open;
        second.silence_ms = second.silence_ms.max(sample.silence_ns / 1_000_000);
        for (measure, counts) in sample.times {
            let times = second.sorted.entry(measure).or_default();
            times.add_counts(&counts);
            let figures = [0.5, 0.99, 1.0].map(|share| times.quantile_ms(share));
            second.times.insert(measure, figures);
            self.totals.entry(measure).or_default().add_counts(&counts);
        }
        second.reported += 1;
        let over = second.reported == self.generators;
        if over && number + 1 < self.measured.1 {
            // Its figures are made; a long run would keep hundreds of kilobytes of each second.
            second.sorted.clear();
        }
        over.then_some(second)
    }
}

/// A row of the table of times.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was timed.
    pub measure: Measure,
    /// How often.
    pub count: u64,
    /// Milliseconds, by the shares of [`SHARES`].
    pub ms: Vec<f64>,
}

/// A process over the whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// Which.
    #[serde(flatten)]
    pub watched: Watched,
    /// Cores that it kept busy, on average.
    pub cores: f64,
    /// CPU seconds while it was measured.
    pub cpu_seconds: f64,
    /// Resident memory at its highest, in bytes.
    pub memory_max: u64,
    /// Open files at their highest.
    pub files_max: u32,
    /// Files that it may have open.
    pub files_limit: u32,
    /// By how many percent its memory grew while it was measured: a line through all seconds.
    pub memory_growth: f64,
    /// The same of its open files.
    pub files_growth: f64,
    /// How much of the time it stood still, stopped by a signal, from 0 to 1.
    pub stopped: f64,
    /// Cores that it could have used besides, and did not get, on average.
    pub waited: f64,
    /// Cores that the one of its processes that wanted most used, and waited for, on average.
    pub wanted: f64,
    /// Cores on which it may run.
    pub allowed: f64,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Form of this report.
    pub version: u32,
    /// The profile's name.
    pub profile: String,
    /// People.
    pub users: u32,
    /// Channels of the load, and members of the largest.
    pub channels: (usize, usize),
    /// Actions a second that were asked for.
    pub rate: f64,
    /// Generators.
    pub generators: usize,
    /// Seconds before anything was measured.
    pub warm_up: u32,
    /// Seconds measured.
    pub seconds: u32,
    /// What was counted while it was measured.
    pub counts: BTreeMap<Count, u64>,
    /// What went wrong, from the first second to the last.
    pub errors: BTreeMap<String, u64>,
    /// Of 100 operations so many went wrong.
    pub errors_percent: f64,
    /// How long things took.
    pub times: Vec<Row>,
    /// What each process of the server cost.
    pub processes: Vec<Process>,
    /// Cores of the busiest generator, on average.
    pub busiest_generator: f64,
    /// Cores of all generators together, on average.
    pub generator_cores: f64,
    /// How much of the time a generator stood still, stopped by a signal, from 0 to 1.
    pub generators_held: f64,
    /// Cores that the generator that waited most could have used besides, on average.
    pub generators_waited: f64,
    /// Cores that others kept busy, on average.
    pub others: f64,
    /// Load averages at the end.
    pub load: [f64; 3],
    /// By how many bytes the processes that have sockets grew for each while they were opened.
    pub bytes_per_socket: Option<f64>,
    /// Entries that were written to the database a second, on average.
    pub stored: Option<f64>,
    /// What was promised, checked.
    pub audit: Report,
    /// The first broken promises, with names.
    pub findings: Vec<String>,
    /// Demands, judged.
    pub judged: Vec<Judged>,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What a long run did to memory, files and load average; nothing else has it.
    pub followed: Vec<Followed>,
    /// What is to be known besides.
    pub remarks: Vec<String>,
    /// What was done to the server.
    pub marks: Vec<Mark>,
    /// Second by second.
    pub series: Vec<Second>,
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
impl Outcome {
    /// Draws the conclusions.
    pub(super) fn new(
        load: &Load,
        series: Series,
        audit: Report,
        names: &Names,
        sizes: Vec<usize>,
    ) -> Self {
        let (from, to) = series.measured;
        let measured = |second: &&Second| (from..to).contains(&second.second);
        let mut counts: BTreeMap<Count, u64> = BTreeMap::new();
        let errors = series.errors();
        for second in series.seconds.values().filter(measured) {
            for (count, value) in &second.counts {
                *counts.entry(*count).or_default() += value;
            }
        }
        let due = |second: &Second| second.counts.get(&Count::Due).copied();
        let due: u64 = series.seconds.values().filter_map(due).sum();
        let operations = due.max(u64::from(load.users));
        let wrong: u64 = errors
            .iter()
            .filter(|(kind, _)| *kind != "reset")
            .map(|(_, n)| n)
            .sum();
        let looks: Vec<&Look> = series
            .seconds
            .values()
            .filter(measured)
            .filter_map(|second| second.look.as_ref())
            .collect();
        let mean = |of: &dyn Fn(&Look) -> f64| {
            looks.iter().map(|look| of(look)).sum::<f64>() / looks.len().max(1) as f64
        };
        let findings = audit.findings.iter().take(FINDINGS_TOLD);
        let findings =
            findings.map(|(rule, finding)| format!("{} {}", rule.code(), finding.describe(names)));
        let mut outcome = Self {
            version: 1,
            profile: load.name.clone(),
            users: load.users,
            channels: (sizes.len(), sizes.into_iter().max().unwrap_or(0)),
            rate: load.actions_per_second(),
            generators: series.generators,
            warm_up: from,
            seconds: to - from,
            counts,
            errors,
            errors_percent: wrong as f64 * 100.0 / operations.max(1) as f64,
            times: rows(&series.totals),
            processes: processes(&series.watched, &looks),
            busiest_generator: mean(&|look| look.busiest_generator),
            generator_cores: mean(&|look| look.generators),
            generators_held: mean(&|look| look.generators_held),
            generators_waited: mean(&|look| look.generators_waited),
            others: mean(&|look| look.others),
            load: looks.last().map_or([0.0; 3], |look| look.load),
            bytes_per_socket: None,
            stored: average(looks.iter().filter_map(|look| look.stored)),
            findings: findings.collect(),
            judged: Vec::new(),
            verdict: Verdict::Pass,
            followed: Vec::new(),
            remarks: Vec::new(),
            audit,
            marks: recovered(series.marks, &series.seconds),
            series: series.seconds.into_values().collect(),
        };
        outcome.judge(load, series.objections);
        outcome
    }

    /// Of a load that was stopped before anything was measured.
    pub(super) fn unmeasured(load: &Load) -> Self {
        let mut series = Series::new(0, &[], 0, 0);
        let why = "it was stopped before anything was measured";
        series.objections.push(why.to_owned());
        let names = Names {
            channels: Vec::new(),
            clients: Vec::new(),
        };
        let audit = Audit::default().finish();
        Self::new(load, series, audit, &names, Vec::new())
    }

    /// So many a second while it was measured.
    #[must_use]
    pub fn per_second(&self, count: Count) -> f64 {
        let counted = self.counts.get(&count).copied().unwrap_or(0);
        counted as f64 / f64::from(self.seconds.max(1))
    }

    /// A share of the times of a measure, in milliseconds; `None`: nothing was timed.
    #[must_use]
    pub fn time(&self, measure: Measure, share: f64) -> Option<f64> {
        let row = self.times.iter().find(|row| row.measure == measure)?;
        let place = SHARES.iter().position(|(_, known)| *known >= share)?;
        row.ms.get(place).copied()
    }

    /// How unevenly sockets are spread over gateways at the end of what was measured.
    #[must_use]
    pub fn imbalance(&self) -> Option<f64> {
        let end = self.warm_up + self.seconds;
        let seconds = self.series.iter().rev();
        let mut measured = seconds.filter(|second| second.second < end);
        measured.find_map(|second| self.imbalance_at(second.look.as_ref()?))
    }

    /// How unevenly sockets are spread over gateways: their deviation over their mean. `None`:
    /// there are not two that have any.
    #[must_use]
    pub fn imbalance_at(&self, look: &Look) -> Option<f64> {
        let each = self.processes.iter().zip(&look.sockets);
        let gateways = each.filter(|(process, _)| process.watched.role == "gateway");
        let sockets: Vec<f64> = gateways.filter_map(|(_, sockets)| *sockets).collect();
        let mean = average(sockets.iter().copied()).filter(|mean| *mean > 0.0)?;
        let deviation = average(sockets.iter().map(|n| (n - mean).powi(2)))?;
        (sockets.len() > 1).then(|| deviation.sqrt() / mean)
    }

    /// CPU microseconds of the generators for each delivery, everything included.
    #[must_use]
    pub fn generator_us_per_delivery(&self) -> f64 {
        let seconds = self.generator_cores * f64::from(self.seconds);
        let deliveries = self.counts.get(&Count::Deliveries).copied().unwrap_or(0);
        seconds * 1e6 / deliveries.max(1) as f64
    }

    /// Age of the oldest entry that waited to be stored while it was measured, in seconds.
    #[must_use]
    pub fn queue_age(&self) -> Option<f64> {
        let end = self.warm_up + self.seconds;
        let seconds = self.series.iter();
        let measured = seconds.filter(|second| (self.warm_up..end).contains(&second.second));
        let ages = measured.filter_map(|second| Some(second.look.as_ref()?.queue?.oldest_s));
        ages.reduce(f64::max)
    }

    /// CPU microseconds of the whole server for each delivery.
    #[must_use]
    pub fn us_per_delivery(&self) -> f64 {
        let seconds: f64 = self.processes.iter().map(|p| p.cpu_seconds).sum();
        let deliveries = self.counts.get(&Count::Deliveries).copied().unwrap_or(0);
        seconds * 1e6 / deliveries.max(1) as f64
    }

    fn measured(&self, subject: Subject) -> Option<f64> {
        match subject {
            Subject::Time(measure, share) => self.time(measure, share),
            Subject::Errors => Some(self.errors_percent),
            Subject::Deliveries => Some(self.per_second(Count::Deliveries)),
            Subject::Acked => Some(self.per_second(Count::Acked)),
            Subject::QueueAge => self.queue_age().map(|seconds| seconds * 1e3),
            Subject::Growth => {
                let grown = self
                    .processes
                    .iter()
                    .flat_map(|p| [p.memory_growth, p.files_growth]);
                grown.reduce(f64::max)
            }
        }
    }

    fn judge(&mut self, load: &Load, objections: Vec<String>) {
        let judged = load.slo.0.iter().map(|demand| self.judged(demand));
        self.judged = judged.collect();
        let violations = self.audit.counts.iter();
        let violations = violations.map(|(rule, count)| {
            format!("{} broken {count} times: {}", rule.code(), rule.promise())
        });
        let kept_out = self.errors.get(NOT_LET_IN);
        let kept_out = kept_out.map(|n| format!("{n} of {} users were not let in", self.users));
        let mut evidence = Evidence {
            judged: self.judged.clone(),
            violations: violations.collect(),
            missed: kept_out.into_iter().collect(),
            not_put: objections,
            disturbed: self.disturbances(),
        };
        let asked = load.actions_per_second() * f64::from(self.seconds);
        let due = self.counts.get(&Count::Due).copied().unwrap_or(0) as f64;
        // Random arrivals are as many as they happen to be: three standard deviations.
        let allowed = asked * NOT_PUT_PERCENT_MAX / 100.0 + 3.0 * asked.sqrt() + 1.0;
        if due + allowed < asked {
            let (due, asked) = (number(due), number(asked));
            let late = format!("the generator did {due} of {asked} actions in time");
            evidence.not_put.push(late);
        }
        self.verdict = evidence.verdict();
        if matches!(self.verdict, Verdict::Pass) {
            let remarks = evidence.disturbed.into_iter();
            self.remarks
                .extend(remarks.map(|why| format!("{why}; figures may be too high")));
        }
    }

    fn judged(&self, demand: &Demand) -> Judged {
        let measured = self.measured(demand.subject);
        let met = measured.is_some_and(|measured| {
            (measured < demand.limit) == demand.below || demand.limit == 0.0 && measured == 0.0
        });
        Judged {
            demand: super::slo::Slo(vec![demand.clone()]).to_string(),
            measured,
            unit: demand.subject.unit(),
            met,
        }
    }

    /// What may have made the server look slow.
    fn disturbances(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.busiest_generator > GENERATOR_CORES_MAX {
            found.push(format!(
                "a generator kept {:.2} cores busy; over {GENERATOR_CORES_MAX} it is the limit",
                self.busiest_generator
            ));
        }
        if self.others > OTHERS_CORES_MAX {
            found.push(format!(
                "other programs kept {:.2} cores busy; over {OTHERS_CORES_MAX} disturbs",
                self.others
            ));
        }
        let late = self.time(Measure::Late, 0.99).unwrap_or(0.0);
        let slowest = [
            Measure::Ack,
            Measure::Delivery,
            Measure::History,
            Measure::Login,
        ]
        .into_iter()
        .filter_map(|measure| self.time(measure, 0.99))
        .fold(0.0, f64::max);
        if late > 1.0 && late > slowest * LATE_SHARE_MAX {
            let late = number(late);
            found.push(format!("the generator itself was late by {late} ms (p99)"));
        }
        found
    }
}

#[expect(clippy::cast_precision_loss, reason = "values are few")]
fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn rows(totals: &BTreeMap<Measure, Times>) -> Vec<Row> {
    let rows = totals.iter().map(|(measure, times)| Row {
        measure: *measure,
        count: times.len(),
        ms: SHARES.map(|(_, share)| times.quantile_ms(share)).to_vec(),
    });
    rows.collect()
}

#[expect(clippy::cast_precision_loss, reason = "seconds are few")]
fn processes(watched: &[Watched], looks: &[&Look]) -> Vec<Process> {
    let each = watched.iter().enumerate().map(|(number, watched)| {
        let usages = looks
            .iter()
            .filter_map(|look| look.processes.get(number)?.as_ref());
        let usages: Vec<_> = usages.collect();
        let cpu_seconds: f64 = usages.iter().map(|usage| usage.cores).sum();
        let mean = |of: &dyn Fn(&Usage) -> f64| {
            usages.iter().map(|usage| of(usage)).sum::<f64>() / usages.len().max(1) as f64
        };
        Process {
            watched: watched.clone(),
            cores: cpu_seconds / looks.len().max(1) as f64,
            cpu_seconds,
            memory_max: usages.iter().map(|usage| usage.memory).max().unwrap_or(0),
            files_max: usages.iter().map(|usage| usage.files).max().unwrap_or(0),
            files_limit: usages.iter().map(|u| u.files_limit).max().unwrap_or(0),
            memory_growth: growth(usages.iter().map(|usage| usage.memory as f64)),
            files_growth: growth(usages.iter().map(|usage| f64::from(usage.files))),
            stopped: mean(&|usage| usage.held),
            waited: mean(&|usage| usage.waited),
            wanted: mean(&|usage| usage.wanted),
            allowed: usages.last().map_or(0.0, |usage| usage.allowed),
        }
    });
    each.collect()
}

/// A time that is bad while a fault lasts, in milliseconds: what people notice.
const NOTICED_MS: f64 = 1_000.0;
/// Good seconds in a row that are a recovery.
const GOOD_SECONDS: u32 = 3;

/// How long after each fault everything was good again.
fn recovered(marks: Vec<Mark>, seconds: &BTreeMap<u32, Second>) -> Vec<Mark> {
    let good = |number: u32| {
        seconds.get(&number).is_some_and(|second| {
            let slow = [Measure::Ack, Measure::Delivery].iter().any(|measure| {
                let times = second.times.get(measure);
                times.is_some_and(|times| times[1] > NOTICED_MS)
            });
            second.errors.is_empty() && !slow && second.reported > 0
        })
    };
    let last = seconds.keys().last().copied().unwrap_or(0);
    let marks = marks.into_iter().map(|mark| {
        let mut starts = mark.healed..=last;
        let from = starts.find(|from| (*from..from + GOOD_SECONDS).all(good));
        Mark {
            recovered_after: from.map(|from| from - mark.healed),
            ..mark
        }
    });
    marks.collect()
}
