//! When to write: at once while it is quiet, in ticks when it is busy.
//!
//! A write costs the same for one frame or sixty, so waiting pays as soon as writing takes a
//! noticeable part of the time. A pump rests after each flush for twice as long as the flush took,
//! within bounds: it spends at most a third of its time writing unless its sockets are very many,
//! and a quiet channel waits for nothing.

use std::time::{Duration, Instant};

/// Flushes that take less than this are not worth waiting for.
const QUIET: Duration = Duration::from_micros(200);
/// Rest for each moment of writing. With 1 a room of 1,000 members at 1,000 messages a second cost
/// 0.84 µs a delivery, with 2 a quarter less, for two milliseconds at the median.
const REST_FACTOR: u32 = 2;
/// Shortest rest, once there is one. The more pumps share a room, the shorter each flush and its
/// rest, and the fewer frames a write carries: without this bound a delivery to 1,000 members cost
/// 1.65 times as much over two gateways as in one process, with it 1.37 times.
const REST_MIN: Duration = Duration::from_millis(8);
/// Longest rest: what a conversation does not notice.
const REST_MAX: Duration = Duration::from_millis(20);

/// The rhythm of a pump.
#[derive(Debug)]
pub(super) struct Tick {
    next: Instant,
}

impl Tick {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// How long to wait before the next flush; `None`: not at all.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = self.next.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// A flush lasted from `begun` to `ended`.
    pub(super) fn flushed(&mut self, begun: Instant, ended: Instant) {
        let took = ended - begun;
        let rest = if took < QUIET {
            Duration::ZERO
        } else {
            (took * REST_FACTOR).clamp(REST_MIN, REST_MAX)
        };
        self.next = ended + rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pump_rests_twice_as_long_as_it_wrote_within_bounds() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut tick = Tick::new(start);
        assert_eq!(tick.wait(start), None);
        tick.flushed(start, start + Duration::from_micros(100));
        assert_eq!(tick.wait(start + ms(1)), None);
        tick.flushed(start, start + ms(1));
        assert_eq!(tick.wait(start + ms(1)), Some(REST_MIN));
        tick.flushed(start, start + ms(6));
        assert_eq!(tick.wait(start + ms(8)), Some(ms(10)));
        assert_eq!(tick.wait(start + ms(18)), None);
        tick.flushed(start, start + ms(500));
        assert_eq!(tick.wait(start + ms(500)), Some(REST_MAX));
    }
}
