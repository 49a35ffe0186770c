//! Which numbers a page of history holds.

use banter_protocol::id::Seq;

use super::{Anchor, Record};
use crate::error::{Error, Result};

/// The entries above `after`, up to and including `up_to`; none when they are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) after: Seq,
    pub(super) up_to: Seq,
}

impl Window {
    /// The page of at most `limit` entries at `anchor`, in a channel whose newest entry is `head`.
    ///
    /// `Around` gives the older side the smaller half's surplus (`limit / 2` entries below its
    /// number), and where one side is short the other fills the page.
    pub(super) fn new(anchor: Anchor, head: Seq, limit: u32) -> Self {
        let limit = Seq::from(limit);
        let ending_at = |up_to: Seq| Self {
            after: up_to.saturating_sub(limit),
            up_to,
        };
        let beginning_after = |after: Seq| Self {
            after,
            up_to: head.min(after.saturating_add(limit)),
        };
        match anchor {
            Anchor::Newest => ending_at(head),
            Anchor::Before(n) => ending_at(head.min(n.saturating_sub(1))),
            Anchor::After(n) => beginning_after(n.min(head)),
            Anchor::Around(n) => {
                let last_start = head.saturating_sub(limit);
                beginning_after(n.saturating_sub(1 + limit / 2).min(last_start))
            }
        }
    }

    pub(super) const fn has_older(self) -> bool {
        self.after > 0
    }

    pub(super) const fn has_newer(self, head: Seq) -> bool {
        self.up_to < head
    }
}

/// Numbers are dense: a hole would be shown as a gap, and says that the database lost something.
pub(super) fn refuse_holes(after: Seq, records: &[Record]) -> Result<()> {
    for (expected, record) in (after + 1..).zip(records) {
        if record.entry.seq != expected {
            let channel = record.entry.channel;
            return Err(Error::Corrupt(format!(
                "channel {channel}: entry {expected} is missing"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and last number of the page, and whether there are older and newer ones.
    fn page(anchor: Anchor, head: Seq, limit: u32) -> (Option<(Seq, Seq)>, bool, bool) {
        let window = Window::new(anchor, head, limit);
        let numbers = (window.after < window.up_to).then(|| (window.after + 1, window.up_to));
        (numbers, window.has_older(), window.has_newer(head))
    }

    #[test]
    fn without_an_anchor_the_newest_page_is_read() {
        assert_eq!(page(Anchor::Newest, 0, 50), (None, false, false));
        assert_eq!(page(Anchor::Newest, 3, 50), (Some((1, 3)), false, false));
        assert_eq!(page(Anchor::Newest, 50, 50), (Some((1, 50)), false, false));
        assert_eq!(page(Anchor::Newest, 51, 50), (Some((2, 51)), true, false));
    }

    #[test]
    fn before_reads_the_newest_below() {
        let before = |n, head| page(Anchor::Before(n), head, 10);
        assert_eq!(before(0, 100), (None, false, true));
        assert_eq!(before(1, 100), (None, false, true));
        assert_eq!(before(2, 100), (Some((1, 1)), false, true));
        assert_eq!(before(11, 100), (Some((1, 10)), false, true));
        assert_eq!(before(12, 100), (Some((2, 11)), true, true));
        assert_eq!(before(100, 100), (Some((90, 99)), true, true));
        assert_eq!(before(101, 100), (Some((91, 100)), true, false));
        assert_eq!(before(Seq::MAX, 100), (Some((91, 100)), true, false));
    }

    #[test]
    fn after_reads_the_oldest_above() {
        let after = |n, head| page(Anchor::After(n), head, 10);
        assert_eq!(after(0, 100), (Some((1, 10)), false, true));
        assert_eq!(after(90, 100), (Some((91, 100)), true, false));
        assert_eq!(after(99, 100), (Some((100, 100)), true, false));
        assert_eq!(after(100, 100), (None, true, false));
        assert_eq!(after(Seq::MAX, 100), (None, true, false));
        assert_eq!(after(0, 0), (None, false, false));
    }

    #[test]
    fn around_reads_both_sides_and_fills_the_page() {
        let around = |n, head, limit| page(Anchor::Around(n), head, limit);
        assert_eq!(around(50, 100, 10), (Some((45, 54)), true, true));
        assert_eq!(around(50, 100, 1), (Some((50, 50)), true, true));
        assert_eq!(around(50, 100, 2), (Some((49, 50)), true, true));
        assert_eq!(around(50, 100, 3), (Some((49, 51)), true, true));
        assert_eq!(around(1, 100, 10), (Some((1, 10)), false, true));
        assert_eq!(around(0, 100, 10), (Some((1, 10)), false, true));
        assert_eq!(around(100, 100, 10), (Some((91, 100)), true, false));
        assert_eq!(around(Seq::MAX, 100, 10), (Some((91, 100)), true, false));
        assert_eq!(around(2, 3, 10), (Some((1, 3)), false, false));
    }

    #[test]
    fn every_page_is_as_long_as_the_channel_allows_and_no_longer() {
        for head in 0..30 {
            for limit in 1..12 {
                for n in 0..40 {
                    let window = Window::new(Anchor::Around(n), head, limit);
                    let length = window.up_to - window.after;
                    assert_eq!(length, head.min(limit.into()), "around {n} of {head}");
                    let shown = n.clamp(1, head.max(1));
                    assert!(head == 0 || (window.after < shown && shown <= window.up_to));
                    let before = Window::new(Anchor::Before(n), head, limit);
                    let below = head.min(n.saturating_sub(1));
                    assert_eq!(before.up_to - before.after, below.min(limit.into()));
                    let after = Window::new(Anchor::After(n), head, limit);
                    let above = head.saturating_sub(n);
                    assert_eq!(after.up_to - after.after, above.min(limit.into()));
                }
            }
        }
    }
}
