//! Soak: whether a server that runs for long takes more and more.

use serde::Serialize;

use super::outcome::{Outcome, Second};
use super::slo::{Verdict, number};
use super::watch::{Look, Usage};
use crate::statistics::trend::{Trend, trend};

/// Others that kept more cores busy have a part in the load average.
const OTHERS: f64 = 0.2;
/// So many times the least rise would be seen in a chart; a run must exclude that to be steady.
const MATTERS: f64 = 5.0;
/// Kernel and processes do not count memory finer than this over a run, in bytes.
const MEMORY_LEAST: f64 = 512.0 * 1_024.0;

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Resident memory in bytes.
    Memory,
    /// Open files.
    Files,
    /// The machine's load average of one minute.
    Load,
}

/// What a series did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// It did not rise by more than does not matter.
    Steady,
    /// It rose at first, and no more in the second half.
    Settled,
    /// It rises, in the second half too.
    Rises,
    /// The run was too short, or the series too restless, to tell.
    Unclear,
}

/// One quantity of one process over the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Followed {
    /// Whose; `machine` for the load average.
    pub name: String,
    /// What.
    pub quantity: Quantity,
    /// The line through it; `None`: too little was seen.
    pub trend: Option<Trend>,
    /// What that means.
    pub course: Course,
}

impl Quantity {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory MB",
            Self::Files => "files",
            Self::Load => "load average",
        }
    }

    /// In the unit of the tables.
    #[must_use]
    pub fn shown(self, value: f64) -> f64 {
        match self {
            Self::Memory => value / 1e6,
            Self::Files | Self::Load => value,
        }
    }

    /// The least rise over a run that is one.
    fn least(self, level: f64) -> f64 {
        match self {
            Self::Memory => (level * 0.01).max(MEMORY_LEAST),
            Self::Files => (level * 0.01).max(3.0),
            Self::Load => 0.25,
        }
    }
}

impl Course {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Settled => "settled",
            Self::Rises => "RISES",
            Self::Unclear => "unclear",
        }
    }
}

/// What a series of seconds and values did.
#[must_use]
pub fn course(quantity: Quantity, series: &[(f64, f64)]) -> (Option<Trend>, Course) {
    let Some(whole) = trend(series) else {
        return (None, Course::Unclear);
    };
    let least = quantity.least(whole.first.abs());
    let half = trend(&series[series.len() / 2..]).unwrap_or(whole);
    let at_most = |trend: &Trend| trend.high * trend.hours;
    let rises = whole.low > 0.0 && whole.rise() >= least;
    // A leak goes on as it began: in half of the time, half of the rise.
    let goes_on = half.low > 0.0 && half.rise() >= whole.rise() / 4.0;
    let may_go_on = at_most(&half) >= whole.rise() * 0.4;
    let bounded = at_most(&whole) < MATTERS * least;
    let course = match (rises, goes_on) {
        (true, true) => Course::Rises,
        (true, false) if may_go_on => Course::Unclear,
        (false, _) if bounded => Course::Steady,
        _ if at_most(&half) < MATTERS * least / 2.0 => Course::Settled,
        _ => Course::Unclear,
    };
    (Some(whole), course)
}

impl Outcome {
    /// Follows memory and files of every process, and the load average, over what was measured,
    /// and judges by that too: what rises fails, what cannot be told makes the run INVALID.
    pub fn follow(&mut self) {
        self.followed = self.all_followed();
        let (mut rising, mut unclear) = (Vec::new(), Vec::new());
        for followed in &self.followed {
            let what = format!("{} of {}", followed.quantity.name(), followed.name);
            let disturbed = followed.quantity == Quantity::Load && self.others > OTHERS;
            match followed.course {
                Course::Rises if disturbed => unclear.push(format!(
                    "{what} rises, but other programs kept {:.2} cores busy",
                    self.others
                )),
                Course::Rises => rising.push(format!("{what} rises: {}", followed.words())),
                Course::Unclear => {
                    let words = followed.words();
                    unclear.push(format!("whether {what} rises is not clear: {words}"));
                }
                Course::Steady | Course::Settled => {}
            }
        }
        self.verdict = match std::mem::take(&mut self.verdict) {
            Verdict::Fail(mut reasons) => {
                reasons.extend(rising);
                Verdict::Fail(reasons)
            }
            _ if !rising.is_empty() => Verdict::Fail(rising),
            Verdict::Invalid(mut reasons) => {
                reasons.extend(unclear);
                Verdict::Invalid(reasons)
            }
            Verdict::Pass if !unclear.is_empty() => Verdict::Invalid(unclear),
            Verdict::Pass => Verdict::Pass,
        };
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    fn all_followed(&self) -> Vec<Followed> {
        let end = self.warm_up + self.seconds;
        let measured = |second: &&Second| (self.warm_up..end).contains(&second.second);
        let series = |value: &dyn Fn(&Look) -> Option<f64>| -> Vec<(f64, f64)> {
            let seconds = self.series.iter().filter(measured);
            let values = seconds.filter_map(|second| {
                let value = value(second.look.as_ref()?)?;
                Some((f64::from(second.second), value))
            });
            values.collect()
        };
        let follow = |name: &str, quantity, series: &[(f64, f64)]| {
            let (trend, course) = course(quantity, series);
            Followed {
                name: name.to_owned(),
                quantity,
                trend,
                course,
            }
        };
        let mut followed = Vec::new();
        for (number, process) in self.processes.iter().enumerate() {
            let of = |value: fn(&Usage) -> f64| {
                series(&|look| look.processes.get(number)?.as_ref().map(value))
            };
            let name = &process.watched.name;
            let memory = of(|usage| usage.memory as f64);
            followed.push(follow(name, Quantity::Memory, &memory));
            let files = of(|usage| f64::from(usage.files));
            followed.push(follow(name, Quantity::Files, &files));
        }
        let load = series(&|look| Some(look.load[0]));
        followed.push(follow("machine", Quantity::Load, &load));
        followed
    }
}

impl Followed {
    /// The slope with its interval.
    fn slope(&self) -> String {
        let Some(trend) = self.trend else {
            return "-".to_owned();
        };
        let [slope, low, high] =
            [trend.per_hour, trend.low, trend.high].map(|value| signed(self.quantity.shown(value)));
        format!("{slope} ({low} to {high})")
    }

    fn words(&self) -> String {
        match self.trend {
            Some(_) => format!("{} an hour", self.slope()),
            None => "it was seen for too short a time".to_owned(),
        }
    }
}

/// The head of a table of what was followed.
pub const HEAD: [&str; 6] = [
    "process",
    "what",
    "at first",
    "at last",
    "an hour (95%)",
    "",
];

/// Its rows.
#[must_use]
pub fn rows(all: &[Followed]) -> Vec<Vec<String>> {
    let rows = all.iter().map(|followed| {
        let shown = |value: f64| number(followed.quantity.shown(value));
        let ends = followed.trend.map(|trend| [trend.first, trend.last]);
        let [first, last] = ends.map_or(["-", "-"].map(str::to_owned), |ends| ends.map(shown));
        vec![
            followed.name.clone(),
            followed.quantity.name().to_owned(),
            first,
            last,
            followed.slope(),
            followed.course.word().to_owned(),
        ]
    });
    rows.collect()
}

/// A number with its sign.
fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", number(value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::chance::Chance;

    const MB: f64 = 1e6;

    /// An hour of seconds of memory: something that depends on the time, and noise around it.
    fn memory(of: impl Fn(f64) -> f64, noise: f64) -> Vec<(f64, f64)> {
        let mut chance = Chance::new(7);
        let seconds = (0..3_600_u32).map(f64::from);
        seconds
            .map(|at| (at, of(at) + noise * (chance.share() - 0.5)))
            .collect()
    }

    fn of(series: &[(f64, f64)]) -> Course {
        course(Quantity::Memory, series).1
    }

    #[test]
    fn a_leak_is_told_from_everything_that_is_none() {
        let leak = memory(|at| 100.0 * MB + at / 3_600.0 * 4.0 * MB, 2.0 * MB);
        assert_eq!(of(&leak), Course::Rises);
        let (trend, _) = course(Quantity::Memory, &leak);
        let slope = trend.unwrap().per_hour / MB;
        assert!((3.6..4.4).contains(&slope), "{slope}");
        // The same leak under noise in which it cannot be seen to the end.
        let hidden = memory(|at| 100.0 * MB + at / 3_600.0 * 4.0 * MB, 400.0 * MB);
        assert_eq!(of(&hidden), Course::Unclear);
        let flat = memory(|_| 100.0 * MB, 2.0 * MB);
        assert_eq!(of(&flat), Course::Steady);
        // Caches fill, and then they are full.
        let fills = memory(|at| 140.0 * MB - 40.0 * MB * (-at / 300.0).exp(), MB);
        assert_eq!(of(&fills), Course::Settled);
        // What is collected again and again goes up and down.
        let saw = memory(|at| 100.0 * MB + at % 90.0 / 90.0 * 15.0 * MB, MB);
        assert_eq!(of(&saw), Course::Steady);
        let shrinks = memory(|at| 100.0 * MB - at / 3_600.0 * 20.0 * MB, MB);
        assert_eq!(of(&shrinks), Course::Steady);
        // A step is no slope: it happened once.
        let step = memory(|at| if at < 900.0 { 100.0 * MB } else { 120.0 * MB }, MB);
        assert_eq!(of(&step), Course::Settled);
        assert_eq!(of(&leak[..9]), Course::Unclear);
    }

    #[test]
    fn descriptors_that_are_never_closed_are_seen() {
        let files = |every: f64| -> Vec<(f64, f64)> {
            let seconds = (0..600_u32).map(f64::from);
            seconds
                .map(|at| (at, 100.0 + (at / every).floor()))
                .collect()
        };
        assert_eq!(course(Quantity::Files, &files(30.0)).1, Course::Rises);
        // Two in ten minutes may be chance.
        assert_eq!(course(Quantity::Files, &files(250.0)).1, Course::Steady);
        assert_eq!(course(Quantity::Files, &files(1e9)).1, Course::Steady);
    }
}
