//! What users do: send, read, come back, log in.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use banter_protocol::close::Close;
use rustix::event::epoll;
use serde::Deserialize;
use serde_json::json;

use super::call::{Answer, Call, Calls};
use super::hearing::{Awaits, Outgoing, message};
use super::socket::State;
use super::{Engine, Timer, WELCOME_NS_MAX, nanoseconds, now_ns};
use crate::audit::Event;
use crate::load::plan::Person;
use crate::load::profile::Action;
use crate::load::sample::{Count, Measure};

/// Tokens are renewed so long before they end, or earlier: not all at the same time.
const RENEW: Duration = Duration::from_secs(60);
/// A user whose socket was lost comes back within this time, and twice of it after each failure.
const RETURN: Duration = Duration::from_millis(500);
/// …up to this.
const RETURN_MAX: Duration = Duration::from_secs(8);

#[derive(Deserialize)]
struct Renewed {
    access_token: String,
    refresh_token: Option<String>,
    expires_in: u64,
}

/// When a token is to be renewed.
pub(super) fn renewal(person: &Person) -> u64 {
    let spread = u64::from(person.number % 60) * 1_000_000_000;
    person
        .expires_ns
        .saturating_sub(nanoseconds(RENEW) + spread)
}

impl Engine<'_> {
    /// Does one of the profile's actions, which was due then.
    pub(super) fn act(&mut self, due: u64) {
        let weights: Vec<_> = self.actions.iter().map(|(_, weight)| *weight).collect();
        let Some((action, _)) = self.actions.get(self.chance.pick(&weights)).copied() else {
            return;
        };
        let user = self.chance.below(self.sockets.len());
        match action {
            Action::Send => self.send(user, due),
            Action::Open | Action::Scroll | Action::Around => self.read(action, user, due),
            Action::Channels => {
                self.ask(
                    user,
                    due,
                    Measure::Channels,
                    "/v1/channels?joined=true&limit=50",
                );
            }
            Action::Reconnect => {
                // Whoever is on the way already is left alone.
                if self.sockets[user].state == State::Live {
                    self.sockets[user].cut();
                    self.connect(user, due);
                }
            }
            Action::Login => self.log_in(user, due),
        }
    }

    /// A message to one of the user's channels.
    fn send(&mut self, user: usize, due: u64) {
        let Some(channel) = self.channel_of(user) else {
            return;
        };
        let Some(name) = self.plan.channels.get(channel as usize) else {
            return;
        };
        let (id, content, text) = message(name, due, self.plan.profile.body_bytes);
        self.tally.count(Count::Sent);
        let sent = Outgoing {
            id,
            channel,
            due,
            content,
            text,
            awaits: Awaits::Answer,
            acked: false,
        };
        let live = self.sockets[user].state == State::Live;
        if live {
            self.put(user, &sent);
        }
        // While the socket is away it waits, and its time runs.
        self.sockets[user].hearing.outbox.push_back(sent);
    }

    /// One of the user's channels, everybody's as often as the profile says.
    fn channel_of(&mut self, user: usize) -> Option<u32> {
        let share = self.plan.profile.channels.everybody_share / 100.0;
        let places = &self.sockets[user].hearing.places;
        let mut others: Vec<_> = places.iter().map(|place| place.channel).collect();
        if self.plan.everybody {
            others.retain(|channel| *channel != 0);
            if others.is_empty() || self.chance.share() < share {
                return places.iter().any(|place| place.channel == 0).then_some(0);
            }
        }
        others.get(self.chance.below(others.len())).copied()
    }

    fn put(&mut self, user: usize, sent: &Outgoing) {
        let socket = &mut self.sockets[user];
        self.audit.take(Event::Invoked {
            at: now_ns(),
            client: socket.hearing.client,
            channel: sent.channel,
            id: sent.id,
            content: sent.content,
        });
        socket.tell(&sent.text);
        let flushed = socket.flush();
        self.went(user, flushed.map(|()| false));
    }

    /// A page of the history of one of the user's channels.
    fn read(&mut self, action: Action, user: usize, due: u64) {
        let places = &self.sockets[user].hearing.places;
        let Some(place) = places.get(self.chance.below(places.len())).copied() else {
            return;
        };
        let Some(channel) = self.plan.channels.get(place.channel as usize) else {
            return;
        };
        let head = usize::try_from(place.position.seq).unwrap_or(usize::MAX);
        let seq = self.chance.below(head) + 1;
        let page = match action {
            Action::Scroll => format!("limit=50&before={seq}"),
            Action::Around => format!("limit=50&around={seq}"),
            _ => "limit=50".to_owned(),
        };
        let path = format!("/v1/channels/{channel}/history?{page}");
        self.ask(user, due, Measure::History, &path);
    }

    fn ask(&mut self, user: usize, due: u64, measure: Measure, path: &str) {
        let token = &self.plan.people[user].token;
        let request = Calls::request(&self.plan.host, "GET", path, token, "");
        self.calls.add(Call {
            due,
            measure,
            user: u32::try_from(user).unwrap_or(0),
            request,
        });
    }

    fn log_in(&mut self, user: usize, due: u64) {
        let number = self.plan.people[user].number as usize;
        let name = self.plan.names.get(number);
        let body = json!({ "username": name, "password": self.plan.password }).to_string();
        self.post(user, due, Measure::Login, "/v1/auth/login", &body);
    }

    pub(super) fn refresh(&mut self, user: usize) {
        let token = &self.plan.people[user].refresh_token;
        let body = json!({ "refresh_token": token }).to_string();
        self.post(user, now_ns(), Measure::Refresh, "/v1/auth/refresh", &body);
    }

    fn post(&mut self, user: usize, due: u64, measure: Measure, path: &str, body: &str) {
        let request = Calls::request(&self.plan.host, "POST", path, "", body);
        self.calls.add(Call {
            due,
            measure,
            user: u32::try_from(user).unwrap_or(0),
            request,
        });
    }

    /// A call has ended.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer { call, status, body } = answer;
        if !(200..300).contains(&status) {
            let name = call.measure.name();
            self.tally.error(&match status {
                0 => format!("{name}: no answer"),
                status => format!("{name}: {status}"),
            });
            return;
        }
        self.tally.count(Count::Calls);
        self.tally.time(call.measure, call.due, now_ns());
        if call.measure != Measure::Refresh {
            return;
        }
        let (user, Ok(renewed)) = (call.user as usize, serde_json::from_slice::<Renewed>(&body))
        else {
            return self.tally.error("refresh: unreadable");
        };
        let person = &mut self.plan.people[user];
        person.expires_ns = now_ns() + renewed.expires_in * 1_000_000_000;
        person.token = renewed.access_token;
        if let Some(token) = renewed.refresh_token {
            person.refresh_token = token;
        }
        let at = renewal(person).max(now_ns() + 1_000_000_000);
        let auth = json!({ "type": "auth", "token": person.token }).to_string();
        self.timers.push(Reverse((at, Timer::Refresh(user))));
        if self.sockets[user].state == State::Live {
            self.sockets[user].tell(&auth);
            let flushed = self.sockets[user].flush();
            self.went(user, flushed.map(|()| false));
        }
    }

    /// A user's socket is to come back, or to move. Whoever came back earlier is left alone.
    pub(super) fn come_back(&mut self, user: usize, due: u64) {
        let socket = &self.sockets[user];
        if socket.state == State::Down || socket.moves_at == Some(due) {
            self.connect(user, due);
        }
    }

    /// Begins to bring a user's socket back, which should be there since `due`.
    pub(super) fn connect(&mut self, user: usize, due: u64) {
        let socket = &mut self.sockets[user];
        if socket.tries == 0 {
            socket.due = due;
        }
        let opened = socket.open(&self.plan);
        match opened {
            Ok(()) => self.poll_socket(user),
            Err(error) => self.lost(user, &error),
        }
    }

    /// Cuts all sockets; they come back within the profile's spread.
    pub(super) fn storm(&mut self, due: u64, now: u64) {
        let spread = self.plan.profile.storm.map_or(0, |storm| {
            usize::try_from(storm.spread.as_nanos()).unwrap_or(usize::MAX)
        });
        for user in 0..self.sockets.len() {
            if self.sockets[user].state == State::Live {
                self.sockets[user].cut();
                let later = self.chance.below(spread) as u64;
                // Before a timer can fire, the time must have come.
                let at = due.max(now) + later;
                self.timers.push(Reverse((at, Timer::Connect(user))));
            }
        }
    }

    pub(super) fn socket_ready(&mut self, user: usize, flags: epoll::EventFlags) {
        let Some(token) = self
            .plan
            .people
            .get(user)
            .map(|person| person.token.clone())
        else {
            return;
        };
        let (sockets, buffer, mut around) = self.around();
        let socket = &mut sockets[user];
        let mut went = Ok(false);
        if flags.contains(epoll::EventFlags::OUT) || socket.state == State::Connecting {
            went = socket.writable(around.plan).map(|()| true);
        }
        if went.is_ok() && socket.state != State::Connecting {
            let blocked = socket.blocked;
            loop {
                match socket.readable(buffer, &token, &mut around) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        went = Err(error);
                        break;
                    }
                }
            }
            went = went.map(|changed| changed || blocked != socket.blocked);
        }
        self.went(user, went);
    }

    /// What came of working on a socket; `true`: it may have to be polled for something else.
    fn went(&mut self, user: usize, went: std::io::Result<bool>) {
        match went {
            Ok(changed) => {
                let socket = &self.sockets[user];
                if changed || socket.blocked {
                    self.poll_socket(user);
                }
                self.follow_up(user);
            }
            Err(error) => self.lost(user, &error),
        }
    }

    /// Does what the server's last words ask for.
    fn follow_up(&mut self, user: usize) {
        let socket = &mut self.sockets[user];
        if socket.state == State::Greeting && socket.hearing.welcomed {
            socket.state = State::Live;
            socket.was_live = true;
            let due = socket.due;
            socket.tries = 0;
            self.tally.count(Count::Connects);
            self.tally.time(Measure::Connect, due, now_ns());
            self.put_again(user);
        }
        let socket = &mut self.sockets[user];
        if std::mem::take(&mut socket.hearing.asked_to_resend) {
            socket.hearing.resent = true;
            self.put_again(user);
        }
        let socket = &mut self.sockets[user];
        if let Some(after_ms) = socket.hearing.asked_to_move.take() {
            // It hears and speaks on until the other one is to be opened.
            let at = now_ns() + after_ms * 1_000_000;
            socket.moves_at = Some(at);
            self.timers.push(Reverse((at, Timer::Connect(user))));
        } else if socket.hearing.closed.is_some() {
            self.lost(user, &std::io::ErrorKind::ConnectionReset.into());
        }
    }

    /// Sends everything in the outbox, again.
    fn put_again(&mut self, user: usize) {
        let outbox = &mut self.sockets[user].hearing.outbox;
        for sent in outbox.iter_mut() {
            sent.awaits = Awaits::Answer;
        }
        let outbox: Vec<_> = outbox.iter().cloned().collect();
        for sent in outbox {
            if self.sockets[user].state == State::Live {
                self.put(user, &sent);
            }
        }
    }

    /// Sends what was refused for the moment and must not be given up; it is the newest then.
    pub(super) fn put_refused(&mut self, user: usize, now: u64) {
        let socket = &mut self.sockets[user];
        if socket.state != State::Live {
            return;
        }
        let due = |sent: &Outgoing| matches!(sent.awaits, Awaits::Retry(at) if at <= now);
        let outbox = std::mem::take(&mut socket.hearing.outbox);
        let (mut due, others): (VecDeque<_>, VecDeque<_>) = outbox.into_iter().partition(due);
        socket.hearing.outbox = others;
        for sent in &mut due {
            sent.awaits = Awaits::Answer;
        }
        socket.hearing.outbox.extend(due.iter().cloned());
        for sent in due {
            if self.sockets[user].state == State::Live {
                self.put(user, &sent);
            }
        }
    }

    /// A socket is gone; it comes back soon.
    fn lost(&mut self, user: usize, error: &std::io::Error) {
        let socket = &mut self.sockets[user];
        if socket.state == State::Down {
            return;
        }
        let restart = [Close::Restart.code(), Close::Rebalance.code()];
        match socket.hearing.closed {
            // It is how a server says that it goes.
            Some(code) if restart.contains(&code) => {}
            Some(code) => self.tally.error(&format!("closed with {code}")),
            None if socket.state == State::Live => self.tally.error("socket cut"),
            None => self.tally.error(&format!("no socket: {}", error.kind())),
        }
        let live = socket.state == State::Live;
        socket.cut();
        let most = RETURN_MAX.min(RETURN * 2_u32.saturating_pow(socket.tries.min(10)));
        let most = usize::try_from(most.as_nanos()).unwrap_or(usize::MAX);
        let now = now_ns();
        if live {
            // The user misses the server from now on.
            socket.due = now;
        }
        socket.tries += 1;
        let at = now + self.chance.below(most) as u64;
        self.timers.push(Reverse((at, Timer::Connect(user))));
    }

    /// A socket that is on its way for too long tries again.
    pub(super) fn give_up_waiting(&mut self, user: usize, now: u64) {
        let socket = &self.sockets[user];
        let waits = !matches!(socket.state, State::Down | State::Live);
        if waits && now > socket.begun + WELCOME_NS_MAX {
            self.lost(user, &std::io::ErrorKind::TimedOut.into());
        }
    }

    fn poll_socket(&mut self, user: usize) {
        let socket = &self.sockets[user];
        let Some(stream) = socket.stream() else {
            return;
        };
        let flags = if socket.state == State::Connecting || socket.blocked {
            epoll::EventFlags::IN | epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        if self.listen(stream, user as u64, flags).is_err() {
            self.tally.error("poll a socket");
        }
    }
}
