//! Puts metrics under their names into what is scraped.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit as Suffix};

use super::histogram::Histogram;
use super::name::{Name, Unit};

/// Histograms of one name that differ by their labels.
pub type Histograms<L> = Family<L, Histogram, Empty>;

/// Makes the histograms of a family.
#[derive(Debug, Clone, Copy)]
pub struct Empty(Name);

impl MetricConstructor<Histogram> for Empty {
    fn new_metric(&self) -> Histogram {
        Histogram::of(self.0)
    }
}

/// What is being put together.
#[derive(Debug)]
pub(crate) struct List<'a>(&'a mut Registry);

impl<'a> List<'a> {
    /// Adds to a registry that puts the prefix before every name.
    pub(crate) const fn new(registry: &'a mut Registry) -> Self {
        Self(registry)
    }

    pub(crate) fn add<M: Metric + Clone>(&mut self, name: Name, metric: M) -> M {
        let (stem, help) = (name.stem(), name.help());
        match name.unit() {
            Unit::Count => self.0.register(stem, help, metric.clone()),
            Unit::Seconds => {
                self.0
                    .register_with_unit(stem, help, Suffix::Seconds, metric.clone());
            }
            Unit::Bytes => self
                .0
                .register_with_unit(stem, help, Suffix::Bytes, metric.clone()),
        }
        metric
    }

    pub(crate) fn counter(&mut self, name: Name) -> Counter {
        self.add(name, Counter::default())
    }

    pub(crate) fn gauge(&mut self, name: Name) -> Gauge {
        self.add(name, Gauge::default())
    }

    pub(crate) fn histogram(&mut self, name: Name) -> Histogram {
        self.add(name, Histogram::of(name))
    }

    /// Counters by label. Those that are known begin at 0: else a first one would be no increase.
    pub(crate) fn counters<L, V>(
        &mut self,
        name: Name,
        known: impl IntoIterator<Item = V>,
    ) -> Family<L, Counter>
    where
        L: EncodeLabelSet + Clone + Eq + Hash + Send + Sync + std::fmt::Debug + 'static + From<V>,
    {
        let family = self.add(name, Family::<L, Counter>::default());
        for value in known {
            drop(family.get_or_create(&value.into()));
        }
        family
    }

    /// Histograms by label.
    pub(crate) fn histograms<L, V>(
        &mut self,
        name: Name,
        known: impl IntoIterator<Item = V>,
    ) -> Histograms<L>
    where
        L: EncodeLabelSet + Clone + Eq + Hash + Send + Sync + std::fmt::Debug + 'static + From<V>,
    {
        let family = self.add(name, Family::new_with_constructor(Empty(name)));
        for value in known {
            drop(family.get_or_create(&value.into()));
        }
        family
    }
}

/// A gauge that tells, whenever it is asked, how long something has been going on, or had been when
/// somebody looked.
#[derive(Debug, Clone)]
pub struct Age(Arc<Since>);

#[derive(Debug)]
struct Since {
    start: Instant,
    /// Microseconds after `start`, below 0 before it; [`SEEN`]: it does not go on by itself.
    begun: AtomicI64,
    /// Then: for how many microseconds it had been going on.
    seen: AtomicI64,
}

const SEEN: i64 = i64::MIN;

impl Default for Age {
    fn default() -> Self {
        Self(Arc::new(Since {
            start: Instant::now(),
            begun: AtomicI64::new(SEEN),
            seen: AtomicI64::new(0),
        }))
    }
}

impl Age {
    /// It has been going on since then.
    pub fn began(&self, at: Instant) {
        self.goes_on(at.elapsed());
    }

    /// It has been going on for so long, and goes on.
    pub fn goes_on(&self, age: Duration) {
        let begun = micros(self.0.start.elapsed()) - micros(age);
        self.0.begun.store(begun, Ordering::Relaxed);
    }

    /// When somebody looked it had been going on for so long, and may be over now.
    pub fn seen(&self, age: Duration) {
        self.0.seen.store(micros(age), Ordering::Relaxed);
        self.0.begun.store(SEEN, Ordering::Relaxed);
    }

    /// It is over.
    pub fn ended(&self) {
        self.seen(Duration::ZERO);
    }

    /// For how many seconds; 0 when nothing is going on.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of a process's life"
    )]
    pub fn seconds(&self) -> f64 {
        let micros = match self.0.begun.load(Ordering::Relaxed) {
            SEEN => self.0.seen.load(Ordering::Relaxed),
            begun => micros(self.0.start.elapsed()) - begun,
        };
        micros as f64 / 1e6
    }
}

fn micros(time: Duration) -> i64 {
    // A thousand years at most, so that sums fit.
    i64::try_from(time.as_micros()).map_or(i64::MAX / 256, |micros| micros.min(i64::MAX / 256))
}

impl EncodeMetric for Age {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        encoder.encode_gauge(&self.seconds().max(0.0))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_grows_until_it_is_over() {
        let age = Age::default();
        assert!(age.seconds().abs() < f64::EPSILON);
        age.began(Instant::now());
        std::thread::sleep(Duration::from_millis(5));
        assert!(age.seconds() >= 0.005);
        age.ended();
        assert!(age.seconds().abs() < f64::EPSILON);
    }

    #[test]
    fn what_was_seen_stands_until_it_is_known_to_go_on() {
        let age = Age::default();
        age.seen(Duration::from_millis(1_500));
        std::thread::sleep(Duration::from_millis(5));
        assert!((age.seconds() - 1.5).abs() < f64::EPSILON);
        // Longer than this process has been running.
        age.goes_on(Duration::from_secs(3_600));
        std::thread::sleep(Duration::from_millis(5));
        assert!((3_600.005..3_660.0).contains(&age.seconds()));
    }
}
