//! How fast frames may go out, so that the server's limit per socket is never met.

use std::time::Duration;

/// A bucket of permissions, full at the start of a socket.
#[derive(Debug, Clone)]
pub struct Pace {
    interval: Duration,
    /// How far `next` may lie ahead of the present: the burst.
    credit: Duration,
    /// When the frame after those taken would be due at the bare rate.
    next: Duration,
}

impl Pace {
    /// `per_second` frames on average (at least 1), 1.6 seconds' worth at once: four fifths of what
    /// the server allows when `per_second` is four fifths of its rate.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            credit: Duration::from_millis(1600),
            next: Duration::ZERO,
        }
    }

    /// Whether a frame may go out at `now`, a time that only grows.
    ///
    /// # Errors
    /// The time to ask again.
    pub fn ready(&self, now: Duration) -> Result<(), Duration> {
        let earliest = self.next.saturating_sub(self.credit);
        if earliest > now {
            Err(earliest)
        } else {
            Ok(())
        }
    }

    /// A frame went out at `now`.
    pub fn spend(&mut self, now: Duration) {
        self.next = self.next.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(pace: &mut Pace, now: Duration) -> usize {
        let mut count = 0;
        while pace.ready(now).is_ok() {
            pace.spend(now);
            count += 1;
        }
        count
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut pace = Pace::new(100);
        let now = Duration::from_secs(5);
        assert_eq!(burst(&mut pace, now), 161);
        let at = now + Duration::from_millis(10);
        assert_eq!(pace.ready(now), Err(at));
        assert_eq!(burst(&mut pace, at), 1);
    }

    #[test]
    fn saved_permissions_are_bounded() {
        let mut pace = Pace::new(100);
        assert_eq!(burst(&mut pace, Duration::from_secs(3600)), 161);
    }
}
