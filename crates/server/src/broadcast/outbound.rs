//! The sending side of a socket: bytes go straight to the kernel, and wait here only when it takes
//! no more.
//!
//! Pumps write from their threads, the socket's own task writes replies and what had to wait.
//! Nobody ever waits for a socket: one that is too far behind is closed and resumes later.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use banter_protocol::close::Close;
use banter_protocol::frame::{ErrorFrame, ServerFrame};
use banter_protocol::id::{ChannelId, Epoch, Seq, SessionId, UserId};
use banter_protocol::websocket::{close_echo, close_frame, text_frame};
use bytes::{Buf as _, Bytes};
use futures_util::task::AtomicWaker;
use tokio::net::TcpStream;

use crate::metric::Traffic;

/// Slices of one write: a tick rarely has more frames for one socket.
const SLICES: usize = 16;

/// The sending side of one socket.
#[derive(Debug)]
pub struct Outbound {
    stream: TcpStream,
    user: UserId,
    session: SessionId,
    limit: usize,
    /// The pump's number for this socket; set when it is registered.
    key: AtomicU32,
    state: Mutex<State>,
    traffic: Arc<Traffic>,
    /// Wakes the socket's task.
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    /// Bytes in `queue`.
    waiting: usize,
    /// Whether the first of the queue was begun: it must be finished before anything else.
    begun: bool,
    channels: Vec<ChannelId>,
    notes: Vec<Note>,
    closing: Option<Close>,
    broken: bool,
}

/// What a pump asks of a socket's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Write the entries after this one, as fast as the client reads.
    Replay {
        /// The channel.
        channel: ChannelId,
        /// The last entry that the client has.
        after: Seq,
        /// The epoch under which it has; `None`: it has nothing of the channel that counts.
        epoch: Option<Epoch>,
    },
    /// A replay under way ends with this entry: the user has left.
    Until {
        /// The channel.
        channel: ChannelId,
        /// The last entry that the client may have.
        seq: Seq,
    },
    /// Somebody said that the user has joined: find out whether that is so now.
    Look {
        /// The channel.
        channel: ChannelId,
    },
    /// A replay that reported its end is over: the socket gets the channel live.
    Live {
        /// The channel.
        channel: ChannelId,
    },
}

/// How a socket's queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing waits.
    Empty,
    /// So many bytes wait for the kernel.
    Bytes(usize),
    /// The connection is gone.
    Broken,
}

impl Outbound {
    /// The sending side of `stream`; more than `limit` waiting bytes close it.
    #[must_use]
    pub fn new(
        stream: TcpStream,
        user: UserId,
        session: SessionId,
        limit: usize,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            stream,
            user,
            session,
            limit,
            key: AtomicU32::new(u32::MAX),
            state: Mutex::default(),
            traffic,
            waker: AtomicWaker::new(),
        }
    }

    /// The connection, for reading.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whose socket this is.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The session it belongs to.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Whether the user may send to this channel.
    pub fn is_member(&self, channel: &ChannelId) -> bool {
        self.lock().channels.binary_search(channel).is_ok()
    }

    /// Writes a frame, or lets it wait.
    pub fn push(&self, frame: &Bytes) {
        self.push_all(std::slice::from_ref(frame));
    }

    /// Writes frames in one go, or lets them wait.
    pub fn push_all(&self, frames: &[Bytes]) {
        self.push_pieces(frames, frames.len());
    }

    /// The same for pieces that hold several frames each: so many all together.
    pub fn push_pieces(&self, pieces: &[Bytes], frames: usize) {
        let mut state = self.lock();
        if state.closing.is_none() {
            self.traffic.frames.inc_by(frames as u64);
            self.write(&mut state, pieces);
        }
    }

    /// Says why, and ends the conversation: nothing but the reason is written any more.
    pub fn close(&self, close: Close) {
        let retry_after_ms = (close == Close::TooFast).then_some(1_000);
        let mut state = self.lock();
        if state.closing.is_some() {
            return;
        }
        if close == Close::SlowConsumer {
            state.drop_unbegun();
        }
        self.traffic.frames.inc();
        if let Some(code) = close.error() {
            let error = ErrorFrame {
                retry_after_ms,
                ..ErrorFrame::of(code)
            };
            self.write(
                &mut state,
                &[text_frame(&ServerFrame::Error(error).to_json())],
            );
        }
        self.write(&mut state, &[close_frame(close)]);
        state.closing = Some(close);
        drop(state);
        self.waker.wake();
    }

    /// Answers the client's own close.
    pub fn answer_close(&self, code: Option<u16>) {
        let mut state = self.lock();
        if state.closing.is_none() {
            self.write(&mut state, &[close_echo(code)]);
            state.closing = Some(Close::Normal);
        }
    }

    /// The reason, once [`Self::close`] was called.
    pub fn closing(&self) -> Option<Close> {
        self.lock().closing
    }

    /// Takes what pumps have asked for.
    pub fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.lock().notes)
    }

    /// Registers the socket's task: it is woken when there are notes, when bytes wait, and at the
    /// end.
    pub fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Writes what waits, as far as the kernel takes it.
    pub fn poll_drain(&self, cx: &mut Context<'_>) -> Waiting {
        loop {
            {
                let mut state = self.lock();
                self.flush(&mut state);
                if state.broken {
                    return Waiting::Broken;
                }
                if state.queue.is_empty() {
                    return Waiting::Empty;
                }
                let waiting = state.waiting;
                drop(state);
                if self.stream.poll_write_ready(cx).is_pending() {
                    return Waiting::Bytes(waiting);
                }
            }
        }
    }

    pub(super) fn key(&self) -> u32 {
        self.key.load(Ordering::Relaxed)
    }

    pub(super) fn set_key(&self, key: u32) {
        self.key.store(key, Ordering::Relaxed);
    }

    pub(super) fn note(&self, note: Note) {
        self.lock().notes.push(note);
        self.waker.wake();
    }

    pub(super) fn set_member(&self, channel: ChannelId, member: bool) {
        let mut state = self.lock();
        match (state.channels.binary_search(&channel), member) {
            (Err(place), true) => state.channels.insert(place, channel),
            (Ok(place), false) => {
                state.channels.remove(place);
            }
            _ => {}
        }
    }

    /// Puts the channels of a fresh socket in place; exact, because most sockets never change it.
    pub fn set_channels(&self, mut channels: Vec<ChannelId>) {
        channels.sort_unstable();
        channels.dedup();
        channels.shrink_to_fit();
        self.lock().channels = channels;
    }

    fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked {
            waiting: state.waiting,
            traffic: &self.traffic,
            state,
        }
    }

    fn write(&self, state: &mut State, frames: &[Bytes]) {
        if state.broken {
            return;
        }
        let mut written = 0;
        if state.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = frames.len().min(SLICES);
            for (slice, frame) in slices.iter_mut().zip(frames) {
                *slice = IoSlice::new(frame);
            }
            written = self.try_write(state, &slices[..count]);
        }
        for frame in frames {
            if written >= frame.len() {
                written -= frame.len();
                continue;
            }
            state.begun |= written > 0;
            let rest = frame.slice(written..);
            written = 0;
            state.waiting += rest.len();
            state.queue.push_back(rest);
        }
        if !state.queue.is_empty() {
            if state.waiting > self.limit && state.closing.is_none() {
                self.close_slow(state);
            }
            self.waker.wake();
        }
    }

    /// Too far behind: what was not begun is dropped, and the reason is queued instead.
    fn close_slow(&self, state: &mut State) {
        state.drop_unbegun();
        self.traffic.slow_closed.inc();
        let close = close_frame(Close::SlowConsumer);
        state.waiting += close.len();
        state.queue.push_back(close);
        state.closing = Some(Close::SlowConsumer);
    }

    fn flush(&self, state: &mut State) {
        while !state.queue.is_empty() && !state.broken {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = state.queue.len().min(SLICES);
            for (slice, frame) in slices.iter_mut().zip(&state.queue) {
                *slice = IoSlice::new(frame);
            }
            let written = self.stream.try_write_vectored(&slices[..count]);
            match written {
                Ok(written) if written > 0 => {
                    self.traffic.bytes.inc_by(written as u64);
                    state.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => state.broken = true,
            }
        }
        if state.queue.is_empty() {
            // A socket that kept up again needs no memory for what once waited.
            state.queue = VecDeque::new();
        }
    }

    fn try_write(&self, state: &mut State, slices: &[IoSlice<'_>]) -> usize {
        match self.stream.try_write_vectored(slices) {
            Ok(written) => {
                self.traffic.bytes.inc_by(written as u64);
                written
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                state.broken = true;
                self.waker.wake();
                0
            }
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let waiting = state.map_or(0, |state| state.waiting);
        self.traffic.waiting.dec_by(signed(waiting));
    }
}

/// The state while it is worked on; afterwards the bytes that wait are told.
struct Locked<'a> {
    state: MutexGuard<'a, State>,
    /// How many waited before.
    waiting: usize,
    traffic: &'a Traffic,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let change = signed(self.state.waiting) - signed(self.waiting);
        if change != 0 {
            self.traffic.waiting.inc_by(change);
        }
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl State {
    fn advance(&mut self, mut written: usize) {
        self.waiting -= written;
        while let Some(first) = self.queue.front_mut() {
            if written < first.len() {
                first.advance(written);
                self.begun |= written > 0;
                return;
            }
            written -= first.len();
            self.queue.pop_front();
            self.begun = false;
        }
    }

    fn drop_unbegun(&mut self) {
        self.queue.truncate(usize::from(self.begun));
        self.waiting = self.queue.iter().map(Bytes::len).sum();
    }
}
