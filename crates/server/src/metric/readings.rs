//! What the log and the bus of a cluster count themselves, read when somebody scrapes.

use std::sync::{Arc, OnceLock};

use banter_storage::bus::RedisBus;
use banter_storage::log::{Cause, RedisLog};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Name;
use super::label;

/// The bus and the log of this process, once it has those that others share. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Readings(Arc<Sources>);

#[derive(Debug, Default)]
struct Sources {
    bus: OnceLock<RedisBus>,
    log: OnceLock<RedisLog>,
}

impl Readings {
    /// From now on what arrives on this bus is told.
    pub fn bus(&self, bus: RedisBus) {
        // There is one for the life of the process.
        let _ = self.0.bus.set(bus);
    }

    /// From now on what this log comes through is told.
    pub fn log(&self, log: RedisLog) {
        // There is one for the life of the process.
        let _ = self.0.log.set(log);
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Sources { bus, log } = &*self.0;
        let arrived = bus.get().map(RedisBus::arrivals).unwrap_or_default();
        for (name, count) in [
            (Name::BusMessages, arrived.channels + arrived.others),
            (Name::BusUnwantedMessages, arrived.unwanted),
            (Name::BusDroppedMessages, arrived.dropped),
        ] {
            write(&mut encoder, name, &ConstCounter::new(count))?;
        }
        let topics = i64::try_from(arrived.topics).unwrap_or(i64::MAX);
        write(&mut encoder, Name::BusTopics, &ConstGauge::new(topics))?;
        let refuses = log.get().is_some_and(RedisLog::is_full);
        let refuses = ConstGauge::new(i64::from(refuses));
        write(&mut encoder, Name::QueueBackpressure, &refuses)?;
        let changes = log.get().map(RedisLog::epoch_changes);
        let changes = changes.unwrap_or(Cause::ALL.map(|cause| (cause, 0)));
        let (name, help) = described(Name::QueueEpochChanges);
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut encoder = encoder.encode_descriptor(&name, &help, None, kind)?;
        for (cause, count) in changes {
            let cause = label::Cause::from(cause.as_str());
            ConstCounter::new(count).encode(encoder.encode_family(&cause)?)?;
        }
        Ok(())
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: Name,
    metric: &impl EncodeMetric,
) -> std::fmt::Result {
    let (name, help) = described(name);
    metric.encode(encoder.encode_descriptor(&name, &help, None, metric.metric_type())?)
}

/// Name and help as a collector gives them: the encoder adds a counter's suffix itself, and no full
/// stop.
fn described(name: Name) -> (String, String) {
    let full = name.full();
    let bare = full.strip_suffix("_total").unwrap_or(&full);
    (bare.to_owned(), format!("{}.", name.help()))
}
