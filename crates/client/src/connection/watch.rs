//! What is timed on one socket: renewal, silence, and the move to another gateway.

use std::future::pending;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::driver::chance;
use crate::error::Error;
use crate::frame::Welcome;
use crate::socket::{Failure, Socket};

/// The server pings every 25 s; after this long without anything the client asks by itself…
const SILENCE: Duration = Duration::from_secs(35);
/// … and after this long the socket is taken for dead.
const DEAD: Duration = Duration::from_secs(45);

/// A socket that was opened to replace the present one.
pub(super) type Opened = Box<(Socket, Welcome)>;

/// What is timed on one socket.
pub(super) struct Watch {
    heard: Instant,
    asked: bool,
    pub(super) renew_at: Option<Instant>,
    /// Never cut off: a refresh whose answer is lost can cost the session.
    pub(super) renewal: Option<JoinHandle<Result<String, Error>>>,
    pub(super) move_at: Option<Instant>,
    pub(super) moving: Option<JoinHandle<Result<Opened, Failure>>>,
}

impl Watch {
    pub(super) fn new(welcome: &Welcome) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            heard: now,
            asked: false,
            renew_at: None,
            renewal: None,
            move_at: None,
            moving: None,
        };
        watch.renew_after(welcome.expires_in);
        watch
    }

    /// Renews when 75 to 85 % of the token's life are over: early enough for many tries, and not
    /// all clients at once.
    pub(super) fn renew_after(&mut self, expires_in: u64) {
        let part = 0.75 + 0.1 * chance();
        // A year is as good as any longer time, and within what a clock can add.
        let life = Duration::from_secs(expires_in.min(365 * 24 * 3600));
        self.renew_at = Some(Instant::now() + life.mul_f64(part));
    }

    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
        self.asked = false;
    }

    pub(super) fn is_dead(&self, now: Instant) -> bool {
        now >= self.heard + DEAD
    }

    /// Whether the server is to be asked for a sign of life; true once in a silence.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let asks = !self.asked && now >= self.heard + SILENCE;
        self.asked |= asks;
        asks
    }

    /// When to look again.
    pub(super) fn wake(&self) -> Instant {
        let silence = if self.asked { DEAD } else { SILENCE };
        [self.renew_at, self.move_at]
            .into_iter()
            .flatten()
            .fold(self.heard + silence, Instant::min)
    }
}

/// The outcome of a task, if there is one, which is then forgotten.
pub(super) async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    let Some(running) = task else {
        return pending().await;
    };
    let done = running.await;
    *task = None;
    done.ok()
}
