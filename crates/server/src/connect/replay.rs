//! Old entries for a socket, read as fast as its client reads them.
//!
//! A replay is a cursor: it holds one page, and asks for the next when that is written. Pages
//! shrink with the size of what is in them, so that a replay holds some 256 KiB.

use std::sync::Arc;

use banter_protocol::entry::Kind;
use banter_protocol::id::{ChannelId, Epoch, Seq, UserId};
use banter_protocol::limit;
use banter_protocol::websocket::text_frame;
use banter_storage::bus::Topic;
use banter_storage::entries::Record;
use bytes::{Bytes, BytesMut};

use crate::app::App;
use crate::broadcast::{Note, Outbound};
use crate::channels::membership;
use crate::metric::Dependency;

/// Entries of the first page; afterwards their size is known.
const FIRST_PAGE: u32 = 16;
/// Bytes that a page should have.
const PAGE_BYTES: usize = 256 * 1024;
/// Bytes that are handed to the kernel in one piece.
const PIECE_BYTES: usize = 32 * 1024;

/// The replays of one socket.
#[derive(Debug, Default)]
pub(super) struct Replays {
    running: Vec<Replay>,
    /// Channels in which the user may be a member.
    looks: Vec<ChannelId>,
}

#[derive(Debug)]
struct Replay {
    channel: ChannelId,
    after: Seq,
    /// The epoch under which its client has what comes before; `None`: it has nothing of that.
    epoch: Option<Epoch>,
    /// Whether the channel's new entries are heard: what is read from then on leaves no gap.
    heard: bool,
    /// The last entry that may be written; the user has left with it.
    until: Option<Seq>,
    /// Whether the pump knows of this end too. Before, it may still be telling of a time when the
    /// user was back, and would take up what is written already.
    agreed: bool,
    page: u32,
    /// Frames of the page at hand, last first.
    frames: Vec<Bytes>,
    /// Everything was written; the pump decides whether the socket is live.
    reported: bool,
}

impl Replays {
    /// Whether there is something to read or write.
    pub(super) fn is_active(&self) -> bool {
        !self.looks.is_empty() || self.running.iter().any(|replay| !replay.reported)
    }

    /// Does as a pump asks.
    pub(super) fn take(&mut self, note: Note) {
        let (Note::Replay { channel, .. }
        | Note::Until { channel, .. }
        | Note::Look { channel }
        | Note::Live { channel }) = note;
        let place = self
            .running
            .iter()
            .position(|replay| replay.channel == channel);
        match (note, place) {
            // Somebody who left and came back goes on where the replay is, up to a later end.
            (Note::Replay { after, .. }, Some(place)) => {
                let replay = &mut self.running[place];
                replay.until = replay.until.filter(|until| *until > after);
                replay.reported = false;
            }
            (Note::Replay { after, epoch, .. }, None) => self.running.push(Replay {
                channel,
                after,
                epoch,
                heard: false,
                until: None,
                agreed: false,
                page: FIRST_PAGE,
                frames: Vec::new(),
                reported: false,
            }),
            (Note::Until { seq, .. }, Some(place)) => {
                let replay = &mut self.running[place];
                // Beyond it the user was back, as the database knew; the pump will say so next.
                if replay.after <= seq {
                    replay.until = Some(seq);
                    replay.agreed = true;
                    replay.reported = false;
                }
            }
            (Note::Live { .. }, Some(place)) => {
                self.running.swap_remove(place);
            }
            (Note::Look { .. }, _) => {
                if !self.looks.contains(&channel) {
                    self.looks.push(channel);
                }
            }
            (Note::Until { .. } | Note::Live { .. }, None) => {}
        }
    }

    /// Writes a piece of one replay, reading a page where that is due.
    ///
    /// # Errors
    /// When the entries cannot be read.
    pub(super) async fn step(
        &mut self,
        app: &App,
        outbound: &Arc<Outbound>,
    ) -> banter_storage::Result<()> {
        if let Some(channel) = self.looks.pop() {
            if let Some(joined) = membership::current(app, channel, outbound.user()).await? {
                app.broadcast.is_member(outbound, channel, joined).await;
            }
            return Ok(());
        }
        let Some(place) = self.running.iter().position(|replay| !replay.reported) else {
            return Ok(());
        };
        let replay = &mut self.running[place];
        if replay.frames.is_empty() && !replay.read(app, outbound.user()).await? {
            let (channel, at, epoch) = (replay.channel, replay.after, replay.epoch);
            if replay.until.is_some() && replay.agreed {
                self.running.swap_remove(place);
                app.broadcast.finished(outbound, channel).await;
            } else if replay.until.is_some() {
                // The pump will come to this end.
                replay.reported = true;
            } else {
                replay.reported = true;
                app.broadcast.caught_up(outbound, channel, at, epoch).await;
            }
            return Ok(());
        }
        let whole = replay.frames.len();
        let piece = replay.piece();
        outbound.push_pieces(&[piece], whole - replay.frames.len());
        // Every socket's turn comes, however much one has to catch up on.
        self.running.rotate_left(1);
        Ok(())
    }
}

/// Whether this entry ends a membership of the user.
fn is_end(record: &Record, user: UserId) -> bool {
    record.user == Some(user) && matches!(record.entry.kind, Kind::Left { .. })
}

impl Replay {
    /// Reads the next page; `false`: there is none.
    async fn read(&mut self, app: &App, user: UserId) -> banter_storage::Result<bool> {
        // Where the user has left, nothing live follows, and perhaps nobody hears the channel.
        if !self.heard && self.until.is_none() {
            let epoch = app.bus.watched(Topic::Channel(self.channel)).await?;
            self.allow(epoch)?;
            self.heard = true;
        }
        let reading = app
            .entries
            .range(self.channel, self.after, self.until, self.page);
        let read = app.metrics.ask(Dependency::Database, "replay", reading);
        let mut records = read.await?;
        // The database knows that the user has left before the pump says so.
        if let Some(place) = records.iter().rposition(|record| is_end(record, user))
            && membership::current(app, self.channel, user)
                .await?
                .is_none()
        {
            records.truncate(place + 1);
            let end = Some(records[place].entry.seq);
            self.agreed &= self.until == end;
            self.until = end;
        }
        let Some(last) = records.last() else {
            return Ok(false);
        };
        self.allow(records.iter().map(|record| record.entry.epoch).max())?;
        self.after = last.entry.seq;
        self.frames = records
            .iter()
            .rev()
            .map(|record| text_frame(&String::from(&record.entry)))
            .collect();
        let bytes: usize = self.frames.iter().map(Bytes::len).sum();
        let fitting = PAGE_BYTES * self.frames.len() / bytes.max(1);
        self.page = u32::try_from(fitting)
            .unwrap_or(u32::MAX)
            .clamp(1, limit::REPLAY_PAGE);
        Ok(true)
    }

    /// In a newer epoch the client may have what is void: it has to ask anew.
    fn allow(&mut self, found: Option<Epoch>) -> banter_storage::Result<()> {
        let Some(found) = found else { return Ok(()) };
        if found > *self.epoch.get_or_insert(found) {
            let text = "the log has begun a new epoch";
            return Err(banter_storage::Error::Unavailable(text.into()));
        }
        Ok(())
    }

    fn piece(&mut self) -> Bytes {
        let mut piece = BytesMut::new();
        while let Some(frame) = self.frames.last() {
            if !piece.is_empty() && piece.len() + frame.len() > PIECE_BYTES {
                break;
            }
            piece.extend_from_slice(frame);
            self.frames.pop();
        }
        piece.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId::from_bytes([9; 16]);

    fn again(after: Seq) -> Note {
        Note::Replay {
            channel: CHANNEL,
            after,
            epoch: None,
        }
    }

    fn until(seq: Seq) -> Note {
        let channel = CHANNEL;
        Note::Until { channel, seq }
    }

    /// A replay that has read up to there.
    fn at(after: Seq) -> Replays {
        let mut replays = Replays::default();
        replays.take(again(after));
        replays
    }

    fn state(replays: &Replays) -> Vec<(Seq, Option<Seq>, bool)> {
        let state = |it: &Replay| (it.after, it.until, it.agreed);
        replays.running.iter().map(state).collect()
    }

    #[test]
    fn who_left_gets_what_comes_before() {
        let mut replays = at(5);
        replays.take(until(8));
        assert_eq!(state(&replays), [(5, Some(8), true)]);
    }

    #[test]
    fn a_replay_that_is_ahead_of_its_pump_writes_nothing_twice() {
        // The user has left with 5 and come back with 6; both were read, the pump is behind.
        let mut replays = at(7);
        replays.take(until(5));
        assert_eq!(state(&replays), [(7, None, false)]);
        replays.take(again(5));
        assert_eq!(state(&replays), [(7, None, false)]);
        assert!(replays.is_active());
    }

    #[test]
    fn an_end_that_the_pump_comes_to_later_stays() {
        // Left with 5, back with 6, left with 7: the last end was read.
        let mut replays = at(7);
        replays.running[0].until = Some(7);
        replays.take(until(5));
        replays.take(again(5));
        assert_eq!(state(&replays), [(7, Some(7), false)]);
        replays.take(until(7));
        assert_eq!(state(&replays), [(7, Some(7), true)]);
        // And once more: with 8 a membership begins that the replay has not seen.
        replays.take(again(7));
        assert_eq!(state(&replays)[0].1, None);
    }
}
