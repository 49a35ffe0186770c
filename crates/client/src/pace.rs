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

    /// Takes a permission at `now` (time since the socket opened), or tells when there is one.
    ///
    /// # Errors
    /// The time to ask again.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let earliest = self.next.saturating_sub(self.credit);
        if earliest > now {
            return Err(earliest);
        }
        self.next = self.next.max(now) + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut pace = Pace::new(100);
        let now = Duration::from_secs(5);
        let burst = (0..1000).take_while(|_| pace.take(now).is_ok()).count();
        assert_eq!(burst, 161);
        let at = pace.take(now).unwrap_err();
        assert_eq!(at, now + Duration::from_millis(10));
        assert!(pace.take(at).is_ok());
        assert!(pace.take(at).is_err());
    }

    #[test]
    fn saved_permissions_are_bounded() {
        let mut pace = Pace::new(100);
        let later = Duration::from_secs(3600);
        let burst = (0..1000).take_while(|_| pace.take(later).is_ok()).count();
        assert_eq!(burst, 161);
    }
}
