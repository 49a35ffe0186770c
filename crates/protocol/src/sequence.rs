//! How a receiver applies entries: each once and in order.

use crate::id::{Position, Seq};

/// What to do with an entry that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next one: apply it.
    Apply,
    /// Seen before: drop it.
    Repeat,
    /// Entries before it are missing: repair from the last applied one.
    Gap,
}

/// The place of a receiver in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    position: Position,
}

impl Sequence {
    /// Goes on after `position`.
    #[must_use]
    pub const fn after(position: Position) -> Self {
        Self { position }
    }

    /// The last applied entry.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The number expected next.
    #[must_use]
    pub const fn next(&self) -> Seq {
        self.position.seq + 1
    }

    /// Takes the entry at `position`, and tells what to do with it. A gap changes nothing.
    pub fn accept(&mut self, position: Position) -> Step {
        if position.seq <= self.position.seq {
            return Step::Repeat;
        }
        if position.seq > self.next() {
            return Step::Gap;
        }
        self.position = position;
        Step::Apply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_applied_once_and_in_order() {
        let at = |seq| Position { seq, epoch: 1 };
        let mut sequence = Sequence::after(at(4));
        assert_eq!(sequence.accept(at(6)), Step::Gap);
        assert_eq!(sequence.accept(at(5)), Step::Apply);
        assert_eq!(sequence.accept(at(5)), Step::Repeat);
        assert_eq!(sequence.accept(at(1)), Step::Repeat);
        assert_eq!(sequence.accept(at(6)), Step::Apply);
        assert_eq!(sequence.position(), at(6));
    }
}
