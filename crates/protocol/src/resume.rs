//! Whether a client's position can be continued without a gap.

use crate::frame::ResetReason;
use crate::id::{Epoch, Position};
use crate::limit;

/// What to do about a position that a client named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Deliver everything after the position, then go on live.
    Replay,
    /// Say `reset` and go on live after the head.
    Reset(ResetReason),
    /// Decide again with the epoch of the entry at the position.
    AskEpoch,
}

/// Decides about `position` in a channel whose head is `head`. `written` is the epoch of the entry
/// at the position, where it was looked up; it is needed only when the epochs differ.
#[must_use]
pub fn decide(position: Position, head: Position, written: Option<Option<Epoch>>) -> Resume {
    if position.seq > head.seq {
        return Resume::Reset(ResetReason::Epoch);
    }
    if position.epoch != head.epoch {
        match written {
            None if position.seq > 0 => return Resume::AskEpoch,
            Some(Some(epoch)) if epoch == position.epoch => {}
            _ => return Resume::Reset(ResetReason::Epoch),
        }
    }
    if head.seq - position.seq > limit::REPLAY_ENTRIES_MAX {
        return Resume::Reset(ResetReason::TooFar);
    }
    Resume::Replay
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Position = Position {
        seq: 20_000,
        epoch: 3,
    };

    fn at(seq: u64, epoch: u64) -> Position {
        Position { seq, epoch }
    }

    #[test]
    fn the_current_epoch_is_resumed_up_to_the_head() {
        assert_eq!(decide(at(20_000, 3), HEAD, None), Resume::Replay);
        assert_eq!(decide(at(10_000, 3), HEAD, None), Resume::Replay);
        assert_eq!(
            decide(at(9_999, 3), HEAD, None),
            Resume::Reset(ResetReason::TooFar)
        );
        assert_eq!(
            decide(at(20_001, 3), HEAD, None),
            Resume::Reset(ResetReason::Epoch)
        );
    }

    #[test]
    fn an_older_epoch_is_resumed_where_its_entry_still_stands() {
        assert_eq!(decide(at(15_000, 2), HEAD, None), Resume::AskEpoch);
        assert_eq!(decide(at(15_000, 2), HEAD, Some(Some(2))), Resume::Replay);
        assert_eq!(
            decide(at(15_000, 2), HEAD, Some(Some(3))),
            Resume::Reset(ResetReason::Epoch)
        );
        assert_eq!(
            decide(at(15_000, 2), HEAD, Some(None)),
            Resume::Reset(ResetReason::Epoch)
        );
        assert_eq!(
            decide(at(0, 2), HEAD, None),
            Resume::Reset(ResetReason::Epoch)
        );
    }

    #[test]
    fn zero_means_from_the_beginning() {
        assert_eq!(decide(at(0, 3), at(5, 3), None), Resume::Replay);
        assert_eq!(decide(at(0, 3), at(0, 3), None), Resume::Replay);
    }
}
