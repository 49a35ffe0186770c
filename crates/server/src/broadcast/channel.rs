//! A channel with sockets on this pump: who gets what, and the newest entries.

use std::collections::VecDeque;

use banter_protocol::id::{Epoch, Position, Seq};
use banter_storage::bus::Watch;
use bytes::{Bytes, BytesMut};

/// Bytes of recent frames that a channel keeps, so that a socket that was away for a moment needs
/// no read from the database.
const RECENT_BYTES: usize = 64 * 1024;

/// The state of one channel.
#[derive(Debug)]
pub(super) struct Channel {
    /// Keeps its entries coming.
    watch: Watch,
    /// The newest entry that came by; `None`: none since this channel has sockets here.
    top: Option<Seq>,
    /// The newest epoch that this pump has heard of; 0: of none.
    epoch: Epoch,
    members: Vec<Member>,
    /// Sockets that take part, live or on the way there.
    watchers: usize,
    /// Frames of this tick.
    pending: Vec<Bytes>,
    recent: VecDeque<Bytes>,
    recent_bytes: usize,
}

/// A socket that gets the channel live.
#[derive(Debug, Clone, Copy)]
struct Member {
    socket: u32,
    /// The last entry it has already.
    after: Seq,
}

/// What becomes of a socket that wants to go on after an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is live; these frames come first.
    Live(Vec<Bytes>),
    /// It has to be brought nearer first.
    Replay,
}

/// What one tick has for one channel.
#[derive(Debug)]
pub(super) struct Tick {
    /// All frames of the tick in one piece.
    pub(super) whole: Bytes,
    frames: Vec<Bytes>,
    first: Seq,
}

impl Channel {
    /// A channel that has no sockets yet.
    pub(super) const fn new(watch: Watch) -> Self {
        Self {
            watch,
            top: None,
            epoch: 0,
            members: Vec::new(),
            watchers: 0,
            pending: Vec::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
        }
    }

    /// What kept its entries coming.
    pub(super) fn into_watch(self) -> Watch {
        self.watch
    }

    /// Whether its entries came here already when its first socket did.
    pub(super) const fn was_heard(&self) -> bool {
        self.watch.is_heard()
    }

    /// Whether a position found under `epoch` may have been voided since.
    pub(super) const fn has_outlived(&self, epoch: Epoch) -> bool {
        self.epoch > epoch
    }

    /// A position was found good under `epoch`.
    pub(super) fn has_epoch(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// The newest entry that came by or was read.
    pub(super) const fn top(&self) -> Option<Seq> {
        self.top
    }

    /// A new epoch begins after entry `at`. Returns the live sockets that have read beyond it;
    /// they are live no more. Nothing is pending.
    pub(super) fn keep(&mut self, at: Position) -> Vec<u32> {
        self.has_epoch(at.epoch);
        // Beyond it there is only what was read, never what came by.
        self.top = self.top.map(|top| top.min(at.seq));
        let beyond = self.members.extract_if(.., |member| member.after > at.seq);
        beyond.map(|member| member.socket).collect()
    }

    /// A new epoch begins, and what was delivered may be void: everybody goes on after `head`.
    /// Returns who is live. Nothing is pending.
    pub(super) fn rewind(&mut self, head: Position) -> Vec<u32> {
        self.has_epoch(head.epoch);
        self.top = Some(head.seq);
        self.recent.clear();
        self.recent_bytes = 0;
        let told = self.members.iter_mut().map(|member| {
            member.after = head.seq;
            member.socket
        });
        told.collect()
    }

    /// Takes an entry, if it is the next one.
    pub(super) fn take(&mut self, at: Position, frame: &Bytes) -> Taken {
        let seq = at.seq;
        match self.top {
            Some(top) if seq <= top => return Taken::Repeat,
            Some(top) if seq > top + 1 => return Taken::Gap { after: top },
            _ => {}
        }
        self.top = Some(seq);
        self.has_epoch(at.epoch);
        self.pending.push(frame.clone());
        self.recent_bytes += frame.len();
        self.recent.push_back(frame.clone());
        while self.recent_bytes > RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.recent_bytes -= oldest.len();
        }
        Taken::Next
    }

    /// Starts anew after a gap: nobody is live any more. Returns who was.
    pub(super) fn restart(&mut self, at: Position) -> Vec<u32> {
        self.top = Some(at.seq);
        self.has_epoch(at.epoch);
        self.recent.clear();
        self.recent_bytes = 0;
        self.members.drain(..).map(|member| member.socket).collect()
    }

    /// Counts a socket that takes part from now on.
    pub(super) fn watch(&mut self) {
        self.watchers += 1;
    }

    /// Counts a socket off; whether none is left.
    pub(super) fn unwatch(&mut self) -> bool {
        self.watchers = self.watchers.saturating_sub(1);
        self.watchers == 0
    }

    /// Lets a socket go on after `after`, if what lies between is at hand. `proven`: the log was
    /// read up to there while this channel had sockets here.
    pub(super) fn admit(&mut self, socket: u32, after: Seq, proven: bool) -> Admission {
        let Some(top) = self.top else {
            if !proven {
                return Admission::Replay;
            }
            // Nothing came by since this channel has sockets here, and the log was read since.
            self.top = Some(after);
            self.members.push(Member { socket, after });
            return Admission::Live(Vec::new());
        };
        let missing = usize::try_from(top.saturating_sub(after)).unwrap_or(usize::MAX);
        if missing > self.recent.len() {
            return Admission::Replay;
        }
        // What is pending is among them, and is not to come again with the tick.
        self.members.push(Member {
            socket,
            after: top.max(after),
        });
        Admission::Live(
            self.recent
                .range(self.recent.len() - missing..)
                .cloned()
                .collect(),
        )
    }

    /// Ends live delivery to a socket; returns what this tick has for it so far.
    pub(super) fn remove(&mut self, socket: u32) -> Vec<Bytes> {
        let Some(place) = self
            .members
            .iter()
            .position(|member| member.socket == socket)
        else {
            return Vec::new();
        };
        let member = self.members.swap_remove(place);
        let first = self.top.unwrap_or(0) + 1 - self.pending.len() as u64;
        let skip = (member.after + 1).saturating_sub(first);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        self.pending.get(skip..).unwrap_or_default().to_vec()
    }

    pub(super) fn has_member(&self, socket: u32) -> bool {
        self.members.iter().any(|member| member.socket == socket)
    }

    /// The frames of this tick; nothing is pending afterwards.
    pub(super) fn tick(&mut self) -> Option<Tick> {
        let top = self.top?;
        if self.pending.is_empty() {
            return None;
        }
        let frames = std::mem::take(&mut self.pending);
        let first = top + 1 - frames.len() as u64;
        Some(Tick {
            whole: concatenate(&frames),
            frames,
            first,
        })
    }

    /// What each live socket gets of a tick.
    pub(super) fn shares<'a>(&'a self, tick: &'a Tick) -> impl Iterator<Item = (u32, Bytes)> + 'a {
        self.members.iter().filter_map(|member| {
            let bytes = if member.after < tick.first {
                tick.whole.clone()
            } else {
                let skip = usize::try_from(member.after + 1 - tick.first).unwrap_or(usize::MAX);
                concatenate(tick.frames.get(skip..).filter(|rest| !rest.is_empty())?)
            };
            Some((member.socket, bytes))
        })
    }

    /// Whether this tick has nothing for the channel.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many sockets get the channel live.
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }
}

impl Tick {
    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }
}

/// What an entry is to a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The next one.
    Next,
    /// Seen before.
    Repeat,
    /// Entries after this one are missing.
    Gap {
        /// The newest before the gap.
        after: Seq,
    },
}

fn concatenate(frames: &[Bytes]) -> Bytes {
    if let [only] = frames {
        return only.clone();
    }
    let mut whole = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    for frame in frames {
        whole.extend_from_slice(frame);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use banter_protocol::id::ChannelId;
    use banter_storage::bus::{Bus, LocalBus, Topic};

    use super::*;

    fn watched() -> Channel {
        let (bus, _) = LocalBus::new();
        let topic = Topic::Channel(ChannelId::from_bytes([1; 16]));
        Channel::new(Bus::Local(bus).watch(topic))
    }

    const fn at(seq: Seq) -> Position {
        Position { seq, epoch: 1 }
    }

    fn frame(seq: Seq) -> Bytes {
        Bytes::from(format!("<{seq}>"))
    }

    fn channel(entries: std::ops::RangeInclusive<Seq>) -> Channel {
        let mut channel = watched();
        for seq in entries {
            assert_eq!(channel.take(at(seq), &frame(seq)), Taken::Next);
        }
        channel.tick();
        channel
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_socket_gets_what_it_lacks_and_nothing_twice() {
        let mut channel = channel(1..=5);
        assert_eq!(
            channel.admit(1, 3, false),
            Admission::Live(vec![frame(4), frame(5)])
        );
        assert_eq!(channel.admit(2, 5, false), Admission::Live(vec![]));
        // This one read the database before entry 6 came by here.
        assert_eq!(channel.admit(3, 6, false), Admission::Live(vec![]));
        for seq in 6..=7 {
            channel.take(at(seq), &frame(seq));
        }
        let tick = channel.tick().unwrap();
        let shares: Vec<_> = channel
            .shares(&tick)
            .map(|(s, b)| (s, text(&b).to_owned()))
            .collect();
        assert_eq!(
            shares,
            [
                (1, "<6><7>".to_owned()),
                (2, "<6><7>".to_owned()),
                (3, "<7>".to_owned())
            ]
        );
    }

    #[test]
    fn an_unwatched_channel_is_read_from_the_log_first() {
        let mut channel = watched();
        assert_eq!(channel.admit(1, 9, false), Admission::Replay);
        assert_eq!(channel.admit(1, 9, true), Admission::Live(vec![]));
        assert_eq!(channel.take(at(9), &frame(9)), Taken::Repeat);
        assert_eq!(channel.take(at(10), &frame(10)), Taken::Next);
    }

    #[test]
    fn what_recent_frames_do_not_cover_is_replayed() {
        let mut channel = channel(4..=6);
        assert_eq!(channel.admit(1, 2, true), Admission::Replay);
        assert_eq!(
            channel.admit(1, 3, true),
            Admission::Live(vec![frame(4), frame(5), frame(6)])
        );
    }

    #[test]
    fn a_gap_ends_live_delivery() {
        let mut channel = channel(1..=2);
        channel.admit(7, 2, false);
        assert_eq!(channel.take(at(5), &frame(5)), Taken::Gap { after: 2 });
        assert_eq!(channel.restart(at(5)), [7]);
        assert_eq!(channel.admit(7, 4, true), Admission::Replay);
        assert_eq!(channel.admit(7, 5, true), Admission::Live(vec![]));
    }

    #[test]
    fn who_has_read_beyond_what_a_new_epoch_keeps_is_live_no_more() {
        let mut channel = channel(1..=5);
        channel.admit(1, 5, false);
        channel.admit(2, 7, false);
        assert_eq!(channel.keep(Position { seq: 5, epoch: 2 }), [2]);
        assert!(channel.has_member(1) && !channel.has_member(2));
        assert!(channel.has_outlived(1) && !channel.has_outlived(2));
        assert_eq!(channel.take(at(6), &frame(6)), Taken::Next);
        // Where nothing came by, what was read counts for nothing.
        let mut quiet = watched();
        quiet.admit(1, 9, true);
        assert_eq!(quiet.keep(Position { seq: 8, epoch: 2 }), [1]);
        assert_eq!(quiet.take(at(9), &frame(9)), Taken::Next);
    }

    #[test]
    fn after_a_rewind_everybody_goes_on_at_the_head() {
        let mut channel = channel(1..=9);
        channel.admit(1, 9, false);
        channel.admit(2, 12, false);
        assert_eq!(channel.rewind(Position { seq: 7, epoch: 2 }), [1, 2]);
        for seq in 8..=9 {
            assert_eq!(channel.take(at(seq), &frame(seq)), Taken::Next);
        }
        let tick = channel.tick().unwrap();
        let shares: Vec<_> = channel
            .shares(&tick)
            .map(|(s, b)| (s, text(&b).to_owned()))
            .collect();
        assert_eq!(shares, [(1, "<8><9>".to_owned()), (2, "<8><9>".to_owned())]);
        // What is kept of the old epoch's frames is not for the new one.
        assert_eq!(channel.admit(3, 6, true), Admission::Replay);
        assert_eq!(
            channel.admit(3, 7, true),
            Admission::Live(vec![frame(8), frame(9)])
        );
    }
}
