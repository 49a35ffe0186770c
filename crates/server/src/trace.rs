//! Traces: where the time of an entry went, told to a collector by OTLP. Off unless asked for.
//!
//! A trace is about one entry, and its ids are computed from the entry's place: channel, epoch and
//! number. So a gateway and a worker speak of the same trace, and choose the same entries to speak
//! of, without anything being carried through the log. Spans are made afterwards, from times that
//! are at hand: an entry that is not followed costs one hash, and nothing where traces are off.

mod export;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use banter_protocol::error::Code;
use banter_protocol::id::{ChannelId, Position};
use banter_storage::heartbeat;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks,
};
use prometheus_client::metrics::counter::Counter;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::metric::Metrics;
use crate::settings::{Role, Telemetry};
use export::Export;

/// Spans that may wait for the collector: some seconds of a busy server's, a few megabytes.
const WAITING_MAX: usize = 8_192;
/// How long a process that ends waits for the collector.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// What tells traces; or nothing. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Traces(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// Entries whose hash lies above are not followed.
    up_to: u64,
    spans: mpsc::Sender<SpanData>,
    scope: InstrumentationScope,
    dropped: Counter,
    export: Mutex<Option<Export>>,
}

/// A part of an entry's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From its arrival to its acknowledgement; of this kind of entry.
    Whole(&'static str),
    /// The log takes it, in a batch.
    Append,
    /// The database takes it, in a batch, from the queue.
    Store,
    /// A pump has it, until it is written to the pump's sockets.
    Deliver,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Whole(kind) => kind,
            Self::Append => "append",
            Self::Store => "store",
            Self::Deliver => "deliver",
        }
    }

    const fn kind(self) -> SpanKind {
        match self {
            Self::Whole(_) => SpanKind::Server,
            Self::Append => SpanKind::Client,
            Self::Store => SpanKind::Consumer,
            Self::Deliver => SpanKind::Producer,
        }
    }

    /// What is counted with it: entries that went with it, or sockets that it went to.
    const fn counts(self) -> &'static str {
        match self {
            Self::Whole(_) | Self::Append | Self::Store => "banter.batch",
            Self::Deliver => "banter.sockets",
        }
    }
}

/// The trace of one entry.
#[derive(Debug)]
pub struct Trail<'t> {
    shared: &'t Shared,
    channel: ChannelId,
    at: Position,
    trace: TraceId,
    /// What the ids of its spans are counted from.
    spans: u64,
}

impl Traces {
    /// Begins to tell traces, where the settings say to whom.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn start(telemetry: &Telemetry, role: Role, metrics: &Metrics) -> Result<Self, String> {
        let Some(collector) = &telemetry.otlp_endpoint else {
            return Ok(Self(None));
        };
        let (spans, waiting) = mpsc::channel(WAITING_MAX);
        let export = Export::start(collector, role, waiting, metrics)?;
        Ok(Self(Some(Arc::new(Shared {
            up_to: u64::MAX / u64::from(telemetry.trace_one_in.max(1)),
            spans,
            scope: InstrumentationScope::builder("banter")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            dropped: metrics.spans.get_or_create_owned(&"dropped".into()),
            export: Mutex::new(Some(export)),
        }))))
    }

    /// None.
    #[cfg(test)]
    pub(crate) const fn untold() -> Self {
        Self(None)
    }

    /// Whether anybody is told.
    #[must_use]
    pub const fn are_told(&self) -> bool {
        self.0.is_some()
    }

    /// The trace of this entry, if it is one of those that are followed. Heartbeats never are.
    #[must_use]
    pub fn follow(&self, channel: ChannelId, at: Position) -> Option<Trail<'_>> {
        let shared = self.0.as_deref()?;
        if heartbeat::is_in(channel) {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(channel.as_bytes());
        hash.update(at.epoch.to_be_bytes());
        hash.update(at.seq.to_be_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let (trace, spans) = hash.split_first_chunk::<16>()?;
        let (choice, spans) = (trace.last_chunk()?, spans.first_chunk()?);
        if u64::from_be_bytes(*choice) > shared.up_to {
            return None;
        }
        Some(Trail {
            shared,
            channel,
            at,
            trace: TraceId::from_bytes(*trace),
            spans: u64::from_be_bytes(*spans),
        })
    }

    /// An entry was not taken, and not because of what it is: told of each, in a trace of its own.
    pub fn failed(&self, channel: ChannelId, kind: &'static str, begun: Instant, code: Code) {
        let Some(shared) = self.0.as_deref().filter(|_| !heartbeat::is_in(channel)) else {
            return;
        };
        let ids = RandomIdGenerator::default();
        let (trace, id) = (ids.new_trace_id(), ids.new_span_id());
        shared.send(SpanData {
            name: kind.into(),
            attributes: vec![KeyValue::new("banter.channel", channel.to_string())],
            status: Status::error(code.as_str()),
            ..shared.span(trace, id, begun, Instant::now())
        });
    }

    /// Tells what is still waiting; afterwards nothing is told any more.
    pub async fn finish(&self) {
        let Some(shared) = &self.0 else { return };
        let export = shared.export.lock();
        let export = export.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(export) = export {
            export.finish(FINISH_TIMEOUT).await;
        }
    }
}

impl Trail<'_> {
    /// A part of its way is over; `count` entries went together, or sockets got it.
    pub fn tell(&self, part: Part, begun: Instant, ended: Instant, count: usize) {
        let root = self.span(0);
        let (id, parent) = match part {
            Part::Whole(_) => (root, SpanId::INVALID),
            Part::Append => (self.span(1), root),
            Part::Store => (self.span(2), root),
            // Every pump of every gateway has one.
            Part::Deliver => (RandomIdGenerator::default().new_span_id(), root),
        };
        self.shared.send(SpanData {
            parent_span_id: parent,
            parent_span_is_remote: matches!(part, Part::Store | Part::Deliver),
            span_kind: part.kind(),
            name: part.name().into(),
            attributes: vec![
                KeyValue::new("banter.channel", self.channel.to_string()),
                KeyValue::new("banter.seq", number(self.at.seq)),
                KeyValue::new("banter.epoch", number(self.at.epoch)),
                KeyValue::new(part.counts(), i64::try_from(count).unwrap_or(i64::MAX)),
            ],
            ..self.shared.span(self.trace, id, begun, ended)
        });
    }

    fn span(&self, number: u64) -> SpanId {
        // 0 means that there is none.
        let id = self.spans.wrapping_add(number).max(1);
        SpanId::from_bytes(id.to_be_bytes())
    }
}

impl Shared {
    /// A span that tells nothing but its time.
    fn span(&self, trace: TraceId, id: SpanId, begun: Instant, ended: Instant) -> SpanData {
        let (now, now_monotonic) = (SystemTime::now(), Instant::now());
        let time = |at: Instant| {
            let ago = now_monotonic.saturating_duration_since(at);
            now.checked_sub(ago).unwrap_or(now)
        };
        SpanData {
            span_context: SpanContext::new(
                trace,
                id,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "".into(),
            start_time: time(begun),
            end_time: time(ended),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    fn send(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(one_in: u32) -> (Traces, mpsc::Receiver<SpanData>) {
        let (spans, waiting) = mpsc::channel(2);
        let shared = Shared {
            up_to: u64::MAX / u64::from(one_in),
            spans,
            scope: InstrumentationScope::default(),
            dropped: Counter::default(),
            export: Mutex::default(),
        };
        (Traces(Some(Arc::new(shared))), waiting)
    }

    fn at(seq: u64) -> Position {
        Position { seq, epoch: 1 }
    }

    #[test]
    fn everybody_follows_the_same_entries_about_one_in_so_many() {
        let channel = ChannelId::from_bytes([7; 16]);
        let followed = |traces: &Traces, seq| {
            let trail = traces.follow(channel, at(seq));
            trail.map(|trail| trail.trace)
        };
        let (here, there, all) = (traces(10).0, traces(10).0, traces(1).0);
        let mut chosen = 0;
        for seq in 1..=10_000 {
            let trace = followed(&here, seq);
            assert_eq!(trace, followed(&there, seq));
            assert!(trace.is_none() || trace == followed(&all, seq));
            chosen += u32::from(trace.is_some());
        }
        assert!((800..1_200).contains(&chosen), "{chosen}");
        let other = all.follow(ChannelId::from_bytes([8; 16]), at(1)).unwrap();
        assert_ne!(Some(other.trace), followed(&all, 1));
        assert!(Traces(None).follow(channel, at(1)).is_none());
    }

    #[test]
    fn parts_are_told_under_the_whole_and_too_many_are_dropped() {
        let (traces, mut waiting) = traces(1);
        let trail = traces
            .follow(ChannelId::from_bytes([7; 16]), at(3))
            .unwrap();
        let begun = Instant::now();
        for part in [Part::Whole("message"), Part::Append, Part::Store] {
            trail.tell(part, begun, begun + Duration::from_millis(5), 2);
        }
        let (whole, append) = (waiting.try_recv().unwrap(), waiting.try_recv().unwrap());
        assert_eq!(whole.parent_span_id, SpanId::INVALID);
        assert_eq!(append.parent_span_id, whole.span_context.span_id());
        assert_eq!(
            append.span_context.trace_id(),
            whole.span_context.trace_id()
        );
        assert_ne!(append.span_context.span_id(), whole.span_context.span_id());
        assert!(whole.end_time >= whole.start_time);
        assert!(waiting.try_recv().is_err());
        assert_eq!(trail.shared.dropped.get(), 1);
    }
}
