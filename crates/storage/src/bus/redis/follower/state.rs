//! What is known of one channel.

use std::time::Instant;

use banter_protocol::id::{Epoch, Position, Seq};

use crate::entries::Record;

/// A channel that somebody listens to.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) state: State,
    /// The last entry that was passed on…
    pub(super) last: Seq,
    /// …and the newest epoch under which that was right.
    pub(super) epoch: Epoch,
    /// How far it is stored, as was told last.
    pub(super) stored: Seq,
    /// When the channel, or its head, was heard of last.
    pub(super) heard: Instant,
    /// Announced while it was not live.
    pub(super) waiting: Vec<Record>,
    /// Whether more was announced than could wait.
    pub(super) overflown: bool,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is known yet.
    Beginning,
    /// What is announced is passed on.
    Live,
    /// It has to be read.
    Due,
    /// It is being read, for the question with this number.
    Reading(u64),
}

impl Followed {
    /// A channel of which nothing is known.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Beginning,
            last: 0,
            epoch: 0,
            stored: 0,
            heard: now,
            waiting: Vec::new(),
            overflown: false,
        }
    }

    /// Where it stands.
    pub(super) const fn position(&self) -> Position {
        Position {
            seq: self.last,
            epoch: self.epoch,
        }
    }
}
