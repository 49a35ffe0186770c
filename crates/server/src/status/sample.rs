//! One second of this process in figures.

use std::time::Instant;

use serde_json::{Value, json};

use crate::clock;
use crate::metric::{Histogram, Metrics, Snapshot, Stage, cpu_seconds, resident_bytes};
use crate::settings::Role;

macro_rules! columns {
    ($($column:ident;)*) => {
        /// What a sample holds, by name; rates are for each second. Milliseconds end in `_ms`.
        pub(super) const COLUMNS: [&str; columns!(@count $($column)*)] =
            [$(stringify!($column),)*];

        #[derive(Debug, Default)]
        struct Figures {
            $($column: Option<f64>,)*
        }

        impl Figures {
            fn values(&self) -> [f32; COLUMNS.len()] {
                [$(rounded(self.$column),)*]
            }
        }
    };
    (@count) => { 0 };
    (@count $first:ident $($rest:ident)*) => { 1 + columns!(@count $($rest)*) };
}

columns! {
    connections;
    unauthenticated;
    draining;
    opened;
    closed;
    subscriptions;
    channels;
    messages;
    rejected;
    deliveries;
    bytes_in;
    bytes_out;
    ack_p50_ms;
    ack_p99_ms;
    delivery_p50_ms;
    delivery_p99_ms;
    queue;
    queue_age_ms;
    unstored;
    unstored_age_ms;
    gateways;
    send_queue_bytes;
    cpu_cores;
    memory_bytes;
    loop_delay_p99_ms;
}

/// The figures of one second.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// In seconds since 1970.
    pub(super) at: i64,
    /// In the order of [`COLUMNS`]; not a number where there is none.
    pub(super) values: [f32; COLUMNS.len()],
}

impl Sample {
    /// A figure, or null.
    pub(super) fn value(&self, column: usize) -> Value {
        let value = self.values[column];
        if value.is_nan() {
            return Value::Null;
        }
        // By way of text: a short float has no short name as a long one.
        json!(value.to_string().parse::<f64>().unwrap_or_default())
    }
}

/// Takes samples, and knows what was before.
#[derive(Debug)]
pub(super) struct Sampler {
    metrics: Metrics,
    role: Role,
    ack: Histogram,
    at: Instant,
    before: Totals,
}

/// What only grows, at a moment.
#[derive(Debug, Clone, Default)]
struct Totals {
    sockets: f64,
    opened: f64,
    messages: f64,
    rejected: f64,
    deliveries: f64,
    bytes_in: f64,
    bytes_out: f64,
    cpu: Option<f64>,
    ack: Snapshot,
    delivery: Snapshot,
    loop_delay: Snapshot,
}

impl Sampler {
    /// Of these metrics, in a process of this role.
    pub(super) fn new(metrics: Metrics, role: Role) -> Self {
        let ack = metrics.ack_duration(role.level());
        let before = totals(&metrics, &ack);
        Self {
            metrics,
            role,
            ack,
            at: Instant::now(),
            before,
        }
    }

    /// What happened since the last sample.
    pub(super) fn take(&mut self) -> Sample {
        let now = Instant::now();
        let seconds = (now - self.at).as_secs_f64().max(1e-3);
        self.at = now;
        let (metrics, totals) = (&self.metrics, totals(&self.metrics, &self.ack));
        let before = std::mem::replace(&mut self.before, totals);
        let after = &self.before;
        let rate = |after: f64, before: f64| Some((after - before).max(0.0) / seconds);
        let state = |stage: Stage| gauge(metrics.connections[stage as usize].get());
        let opened = after.opened - before.opened;
        let ms = |after: &Snapshot, before: &Snapshot, share| {
            Some(after.since(before).quantile(share)? * 1e3)
        };
        let cpu = after.cpu.zip(before.cpu);
        let sees_queue = matches!(self.role, Role::Gateway | Role::Worker);
        let unstored = sees_queue.then(|| metrics.cluster.unstored());
        let figures = Figures {
            connections: state(Stage::Ready),
            unauthenticated: state(Stage::Unauthenticated),
            draining: state(Stage::Draining),
            opened: rate(after.opened, before.opened),
            closed: rate(opened, after.sockets - before.sockets),
            subscriptions: gauge(metrics.subscriptions.get()),
            channels: gauge(metrics.channels.get()),
            messages: rate(after.messages, before.messages),
            rejected: rate(after.rejected, before.rejected),
            deliveries: rate(after.deliveries, before.deliveries),
            bytes_in: rate(after.bytes_in, before.bytes_in),
            bytes_out: rate(after.bytes_out, before.bytes_out),
            ack_p50_ms: ms(&after.ack, &before.ack, 0.5),
            ack_p99_ms: ms(&after.ack, &before.ack, 0.99),
            delivery_p50_ms: ms(&after.delivery, &before.delivery, 0.5),
            delivery_p99_ms: ms(&after.delivery, &before.delivery, 0.99),
            queue: gauge(metrics.queue_entries.get()),
            queue_age_ms: Some(metrics.queue_age.seconds() * 1e3),
            unstored: unstored.map(|(entries, _)| entries),
            unstored_age_ms: unstored.map(|(_, age)| age * 1e3),
            gateways: (self.role == Role::Gateway).then(|| metrics.cluster.gateways()),
            send_queue_bytes: gauge(metrics.traffic.waiting.get()),
            cpu_cores: cpu.and_then(|(after, before)| rate(after, before)),
            memory_bytes: resident_bytes(),
            loop_delay_p99_ms: ms(&after.loop_delay, &before.loop_delay, 0.99),
        };
        Sample {
            at: clock::now_ms() / 1000,
            values: figures.values(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of one process")]
fn totals(metrics: &Metrics, ack: &Histogram) -> Totals {
    let sockets: i64 = metrics.connections.iter().map(|state| state.get()).sum();
    Totals {
        sockets: sockets as f64,
        opened: metrics.opened.get() as f64,
        messages: metrics.accepted.get() as f64,
        rejected: metrics.refused() as f64,
        deliveries: metrics.deliveries.get() as f64,
        bytes_in: metrics.bytes_in.get() as f64,
        bytes_out: metrics.traffic.bytes.get() as f64,
        cpu: cpu_seconds(),
        ack: ack.snapshot(),
        delivery: metrics.delivery_latency.snapshot(),
        loop_delay: metrics.poll_delay.snapshot(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of one process")]
fn gauge(value: i64) -> Option<f64> {
    Some(value as f64)
}

/// Four digits are more than anybody sees, and whole numbers stay whole.
#[expect(
    clippy::cast_possible_truncation,
    reason = "it is shown, not counted with"
)]
fn rounded(value: Option<f64>) -> f32 {
    let Some(value) = value else { return f32::NAN };
    let exact = value.abs() >= 1_000.0 || value == 0.0;
    let digits = 3 - value.abs().max(1e-6).log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    let rounded = if exact {
        value.round()
    } else {
        (value * scale).round() / scale
    };
    rounded as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sample: &Sample, column: &str) -> Value {
        let index = COLUMNS.iter().position(|name| *name == column).unwrap();
        sample.value(index)
    }

    #[test]
    fn a_sample_tells_of_its_own_second_only() {
        let metrics = Metrics::new();
        metrics.accepted.inc_by(1_000);
        let mut sampler = Sampler::new(metrics.clone(), Role::All);
        metrics.accepted.inc_by(10);
        metrics.ack_duration(Role::All.level()).observe(0.02);
        metrics.connections[Stage::Ready as usize].set(3);
        sampler.at -= std::time::Duration::from_secs(2);
        let first = sampler.take();
        let per_second = value(&first, "messages").as_f64().unwrap();
        assert!((4.9..=5.0).contains(&per_second), "{per_second}");
        assert_eq!(value(&first, "connections"), json!(3.0));
        assert_eq!(value(&first, "ack_p50_ms"), json!(17.5));
        let second = sampler.take();
        assert_eq!(value(&second, "messages"), json!(0.0));
        assert_eq!(value(&second, "ack_p50_ms"), Value::Null);
    }

    #[test]
    fn what_is_opened_and_gone_within_a_second_counts_as_both() {
        let metrics = Metrics::new();
        let mut sampler = Sampler::new(metrics.clone(), Role::All);
        metrics.opened.inc_by(5);
        metrics.connections[Stage::Ready as usize].set(2);
        sampler.at -= std::time::Duration::from_secs(1);
        let sample = sampler.take();
        let closed = value(&sample, "closed").as_f64().unwrap();
        assert!((2.9..=3.0).contains(&closed), "{closed}");
    }

    #[test]
    fn figures_are_short() {
        for (exact, short) in [
            (0.0, "0"),
            (0.123_456, "0.1235"),
            (12.345_678, "12.35"),
            (123_456.7, "123457"),
        ] {
            assert_eq!(rounded(Some(exact)).to_string(), short);
        }
        assert!(rounded(None).is_nan());
    }
}
