//! When to send.

use std::time::Duration;

use super::Load;

/// How fast a load goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: so many messages a second in all, evenly, over so many channels, whether the
    /// server keeps up or not. A message counts from the moment at which it should have been sent.
    Rate {
        /// Messages a second.
        per_second: f64,
        /// Channels that take turns.
        channels: usize,
    },
    /// Closed loop: as fast as it goes with so many messages of each channel under way.
    Window {
        /// Messages under way in a channel.
        messages: u64,
        /// Channels.
        channels: usize,
    },
}

impl Pace {
    pub(super) fn schedule(self, start: Duration, load: &Load) -> Schedule {
        Schedule {
            pace: self,
            start,
            sent: 0,
            left: load.messages_max,
            channel: 0,
        }
    }
}

/// A pace from a certain moment on.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    start: Duration,
    sent: u32,
    left: u64,
    /// The channel to look at next.
    channel: usize,
}

impl Schedule {
    /// The channel of the next message that is due, and since when.
    pub(super) fn next(
        &mut self,
        now: Duration,
        in_flight: impl Fn(usize) -> u64,
    ) -> Option<(usize, Duration)> {
        if self.left == 0 {
            return None;
        }
        let (channel, due) = match self.pace {
            Pace::Rate {
                per_second,
                channels,
            } => {
                let due = self.due(per_second);
                if due > now {
                    return None;
                }
                (self.sent as usize % channels, due)
            }
            Pace::Window { messages, channels } => {
                // Each channel is looked at until it is full, and then the next one.
                let full = |channel: usize| in_flight(channel) >= messages;
                let mut looked_at = 0;
                while full(self.channel) {
                    self.channel = (self.channel + 1) % channels;
                    looked_at += 1;
                    if looked_at == channels {
                        return None;
                    }
                }
                (self.channel, now)
            }
        };
        self.sent = self.sent.wrapping_add(1);
        self.left -= 1;
        Some((channel, due))
    }

    /// How long nothing is due.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        match self.pace {
            Pace::Rate { per_second, .. } if self.left > 0 => {
                self.due(per_second).saturating_sub(now)
            }
            // Whatever makes room for another message wakes us.
            _ => Duration::MAX,
        }
    }

    fn due(&self, per_second: f64) -> Duration {
        self.start + Duration::from_secs_f64(f64::from(self.sent) / per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_whatever_comes_back() {
        let ms = Duration::from_millis;
        let pace = Pace::Rate {
            per_second: 100.0,
            channels: 2,
        };
        let mut schedule = pace.schedule(ms(1_000), &Load::new(pace));
        let never = |_| u64::MAX;
        assert_eq!(schedule.next(ms(999), never), None);
        assert_eq!(schedule.wait(ms(999)), ms(1));
        // A pause of 25 ms: three messages are due, each since its own time.
        let due: Vec<_> = std::iter::from_fn(|| schedule.next(ms(1_025), never)).collect();
        assert_eq!(due, [(0, ms(1_000)), (1, ms(1_010)), (0, ms(1_020))]);
        assert_eq!(schedule.wait(ms(1_025)), ms(5));
    }

    #[test]
    fn a_window_is_filled_and_no_more() {
        let pace = Pace::Window {
            messages: 3,
            channels: 2,
        };
        let load = Load {
            messages_max: 5,
            ..Load::new(pace)
        };
        let mut schedule = pace.schedule(Duration::ZERO, &load);
        let flying = std::cell::RefCell::new([2, 1]);
        let mut sent = Vec::new();
        while let Some((channel, _)) =
            schedule.next(Duration::ZERO, |channel| flying.borrow()[channel])
        {
            flying.borrow_mut()[channel] += 1;
            sent.push(channel);
        }
        assert_eq!(sent, [0, 1, 1]);
        *flying.borrow_mut() = [0, 0];
        let more = std::iter::from_fn(|| schedule.next(Duration::ZERO, |_| 0));
        assert_eq!(more.count(), 2, "five in all");
    }
}
