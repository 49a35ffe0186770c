//! Puts metrics under their names into what is scraped.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

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

/// A gauge that tells, whenever it is asked, how long something has been going on.
#[derive(Debug, Clone)]
pub struct Age(Arc<Since>);

#[derive(Debug)]
struct Since {
    start: Instant,
    /// Microseconds after `start`, plus one; 0: nothing is going on.
    begun: AtomicU64,
}

impl Default for Age {
    fn default() -> Self {
        Self(Arc::new(Since {
            start: Instant::now(),
            begun: AtomicU64::new(0),
        }))
    }
}

impl Age {
    /// It has been going on since then.
    pub fn began(&self, at: Instant) {
        let after = at.saturating_duration_since(self.0.start).as_micros();
        let begun = u64::try_from(after).unwrap_or(u64::MAX).saturating_add(1);
        self.0.begun.store(begun, Ordering::Relaxed);
    }

    /// It is over.
    pub fn ended(&self) {
        self.0.begun.store(0, Ordering::Relaxed);
    }

    /// For how many seconds; 0 when nothing is going on.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of a process's life"
    )]
    pub fn seconds(&self) -> f64 {
        match self.0.begun.load(Ordering::Relaxed) {
            0 => 0.0,
            begun => self.0.start.elapsed().as_secs_f64() - (begun - 1) as f64 / 1e6,
        }
    }
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
    use std::time::Duration;

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
}
