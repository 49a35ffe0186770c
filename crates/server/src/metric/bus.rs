//! What arrives on the bus, read when somebody scrapes: a gateway that hears channels which nobody
//! here is in does work for nothing.

use std::sync::{Arc, OnceLock};

use banter_storage::bus::RedisBus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The bus of this process, once it has one that others share.
#[derive(Debug, Clone, Default)]
pub(super) struct Bus(pub(super) Arc<OnceLock<RedisBus>>);

impl Collector for Bus {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Some(bus) = self.0.get() else {
            return Ok(());
        };
        let arrivals = bus.arrivals();
        let counters = [
            (
                "banter_bus_channel_messages",
                "Messages of channels that arrived, before any was looked at",
                arrivals.channels,
            ),
            (
                "banter_bus_other_messages",
                "Messages of users and of the bus itself that arrived",
                arrivals.others,
            ),
            (
                "banter_bus_unwanted_messages",
                "Messages of channels that nobody here wanted any more",
                arrivals.unwanted,
            ),
            (
                "banter_bus_dropped_messages",
                "Messages that did not fit and were made good by reading",
                arrivals.dropped,
            ),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            let encoder = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(encoder)?;
        }
        let topics = ConstGauge::new(i64::try_from(arrivals.topics).unwrap_or(i64::MAX));
        let help = "Channels and users that this process listens to";
        let encoder =
            encoder.encode_descriptor("banter_bus_topics", help, None, topics.metric_type())?;
        topics.encode(encoder)
    }
}
