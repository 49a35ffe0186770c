//! A client that does all that the protocol asks of a good one, in a thread of its own: it keeps
//! positions and an outbox, comes back, resumes and sends again. Whatever breaks a promise of the
//! server's makes it panic.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PATIENCE;
use super::http::Connection;
use super::message::{fresh_id, words, words_of};
use super::person::Person;
use super::socket::{Heard, Socket, upgrade};

/// What a talker says, and how fast.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// Unanswered sends at a time; with none it only listens.
    pub(crate) window: usize,
    /// Bytes of a body; 0: a few words.
    pub(crate) body_bytes: usize,
    /// Sends in all; then it only listens.
    pub(crate) sends: usize,
    /// Pause between two sends.
    pub(crate) pause: Duration,
}

impl Manner {
    /// Only listens.
    pub(crate) const LISTENS: Self = Self {
        window: 0,
        body_bytes: 0,
        sends: 0,
        pause: Duration::ZERO,
    };

    /// Talks without end, with so many sends under way.
    pub(crate) const fn talks(window: usize) -> Self {
        Self {
            window,
            body_bytes: 0,
            sends: usize::MAX,
            pause: Duration::ZERO,
        }
    }
}

/// What a talker has seen.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// By channel: number and message id of every entry applied, in order; others than messages
    /// have an empty id.
    pub(crate) entries: BTreeMap<String, Vec<(u64, String)>>,
    /// By channel and message id: the number that was acked.
    pub(crate) acked: HashMap<(String, String), u64>,
    /// Positions that could not be resumed, as the membership had ended meanwhile.
    pub(crate) given_up: Vec<(String, u64)>,
    /// Sends that were not answered when a socket ended, each time.
    pub(crate) in_flight: Vec<usize>,
    /// Codes of refusals that were sent again.
    pub(crate) refusals: HashMap<String, usize>,
    /// Close codes, in order; 1006 without one.
    pub(crate) closes: Vec<u16>,
}

impl Record {
    /// What a person needs to see when something did not come.
    fn outline(&self) -> String {
        let last = |entries: &Vec<(u64, String)>| entries.last().map_or(0, |last| last.0);
        let heads: Vec<_> = self
            .entries
            .iter()
            .map(|(of, all)| (of, last(all)))
            .collect();
        format!(
            "it has {heads:?}, gave up {:?}, was closed with {:?}, refused {:?}",
            self.given_up, self.closes, self.refusals
        )
    }
}

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    acked: AtomicUsize,
    connected: AtomicBool,
    /// Says nothing new, and ends when everything is answered.
    finish: AtomicBool,
    /// Drops its connection and comes back.
    shake: AtomicBool,
}

/// A running talker.
#[derive(Debug)]
pub(crate) struct Talker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Talker {
    /// Starts one; it is live in all of the person's channels when this returns.
    #[track_caller]
    pub(crate) fn start(person: &Person, channels: &[&str], manner: Manner) -> Self {
        let shared = Arc::new(Shared::default());
        let mut voice = Voice {
            person: person.clone(),
            channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
            manner,
            shared: shared.clone(),
            positions: BTreeMap::new(),
            ended: BTreeMap::new(),
            outbox: VecDeque::new(),
            sent: 0,
            unanswered: 0,
            next_send: Instant::now(),
        };
        let thread = std::thread::spawn(move || voice.run());
        let talker = Self { shared, thread };
        talker.wait("is welcome", || talker.shared.connected.load(SeqCst));
        talker
    }

    /// Sends that were acked.
    pub(crate) fn acked(&self) -> usize {
        self.shared.acked.load(SeqCst)
    }

    /// Looks into the record.
    pub(crate) fn record<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.shared.record.lock().expect("it lives"))
    }

    /// Waits until a condition holds.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let since = Instant::now();
        while !holds() {
            assert!(
                !self.thread.is_finished(),
                "a talker broke off before it {what}"
            );
            assert!(
                since.elapsed() < PATIENCE,
                "a talker waits in vain: {what}; {}",
                self.record(Record::outline)
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until entry `seq` of a channel was applied.
    #[track_caller]
    pub(crate) fn wait_for(&self, channel: &str, seq: u64) {
        self.wait(&format!("has {seq}"), || {
            self.record(|record| {
                let entries = record.entries.get(channel);
                entries
                    .and_then(|entries| entries.last())
                    .is_some_and(|last| last.0 >= seq)
            })
        });
    }

    /// Makes it lose its connection, and come back.
    pub(crate) fn shake(&self) {
        self.shared.shake.store(true, SeqCst);
    }

    /// Lets it finish what it began; gives what it has seen.
    #[track_caller]
    pub(crate) fn finish(self) -> Record {
        self.shared.finish.store(true, SeqCst);
        let since = Instant::now();
        while !self.thread.is_finished() {
            assert!(since.elapsed() < PATIENCE, "a talker does not finish");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.thread.join().expect("it broke no promise");
        std::mem::take(&mut self.shared.record.lock().expect("it lives"))
    }
}

/// A message on its way.
#[derive(Debug, Clone)]
struct Send {
    channel: String,
    id: String,
    body: String,
    /// Whether it is out on the present socket.
    out: bool,
    not_before: Instant,
}

struct Voice {
    person: Person,
    channels: Vec<String>,
    manner: Manner,
    shared: Arc<Shared>,
    positions: BTreeMap<String, (u64, u64)>,
    /// Channels that this person has left, with the number of the `left` entry.
    ended: BTreeMap<String, u64>,
    outbox: VecDeque<Send>,
    sent: usize,
    unanswered: usize,
    next_send: Instant,
}

impl Voice {
    fn run(&mut self) {
        let mut down_since = Instant::now();
        loop {
            if let Some(mut socket) = self.connect() {
                if self.talk(&mut socket) {
                    return;
                }
                down_since = Instant::now();
            }
            assert!(
                down_since.elapsed() < PATIENCE,
                "the server does not come back"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Opens a socket and resumes; `None`: the server is not there, or went away meanwhile.
    fn connect(&mut self) -> Option<Socket> {
        let mut connection = Connection::try_open(self.person.site.address).ok()?;
        let answer = connection.try_call(&upgrade()).ok()?;
        if answer.status != 101 {
            return None;
        }
        let mut socket = Socket::from(connection);
        socket.contract = Some(self.person.site.contract);
        let positions = self
            .positions
            .iter()
            .map(|(channel, (seq, epoch))| (channel.clone(), json!({"seq": seq, "epoch": epoch})));
        let positions: serde_json::Map<_, _> = positions.collect();
        socket.hello(&self.person.token, &Value::Object(positions));
        let Heard::Frame(welcome) = socket.hear() else {
            return None;
        };
        if welcome["type"] == "error" {
            assert_eq!(welcome["code"], "unavailable", "{welcome}");
            return None;
        }
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        for (channel, head) in welcome["channels"].as_object().expect("channels") {
            let head = (number(&head["seq"]), number(&head["epoch"]));
            self.ended.remove(channel);
            let position = self.positions.entry(channel.clone()).or_insert(head);
            assert!(
                position.0 <= head.0,
                "the head went back to {head:?} from {position:?}"
            );
        }
        self.unanswered = 0;
        for send in &mut self.outbox {
            send.out = false;
        }
        self.shared.connected.store(true, SeqCst);
        Some(socket)
    }

    /// Talks until the socket ends; `true`: there is nothing more to say.
    fn talk(&mut self, socket: &mut Socket) -> bool {
        loop {
            if self.shared.finish.load(SeqCst) && self.outbox.is_empty() {
                return true;
            }
            if self.shared.shake.swap(false, SeqCst) {
                return false;
            }
            let patience = self.send_what_is_due(socket);
            let close = match socket.hear_within(patience) {
                Heard::Frame(frame) => {
                    self.take(&frame);
                    continue;
                }
                Heard::Silence | Heard::Ping(_) | Heard::Pong(_) => continue,
                Heard::Close(code) => code.map_or(1005, |(code, _)| code),
                Heard::End => 1006,
            };
            let mut record = self.shared.record.lock().expect("it lives");
            record.in_flight.push(self.unanswered);
            record.closes.push(close);
            return false;
        }
    }

    /// Sends as much as manner and window allow; gives how long to listen afterwards.
    fn send_what_is_due(&mut self, socket: &mut Socket) -> Duration {
        const LISTEN: Duration = Duration::from_millis(20);
        let now = Instant::now();
        let finishing = self.shared.finish.load(SeqCst);
        while !finishing
            && self.outbox.len() < self.manner.window
            && self.sent < self.manner.sends
            && now >= self.next_send
        {
            self.next_send = now + self.manner.pause;
            let body = match self.manner.body_bytes {
                0 => words(self.sent),
                bytes => words_of(bytes),
            };
            self.outbox.push_back(Send {
                channel: self.channels[self.sent % self.channels.len()].clone(),
                id: fresh_id(),
                body,
                out: false,
                not_before: now,
            });
            self.sent += 1;
            if !self.manner.pause.is_zero() {
                break;
            }
        }
        for send in self
            .outbox
            .iter_mut()
            .filter(|send| !send.out && send.not_before <= now)
        {
            socket.send(&send.channel, &send.id, &send.body);
            send.out = true;
            self.unanswered += 1;
        }
        if self.manner.pause.is_zero() {
            LISTEN
        } else {
            LISTEN.min(self.manner.pause)
        }
    }

    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().expect("a type") {
            "ack" => self.acked(frame),
            "error" => self.refused(frame),
            "message" | "joined" | "left" => self.apply(frame),
            "reset" => self.reset(frame),
            // A client may come back at once: the time only spreads many.
            "reconnect" => self.shared.shake.store(true, SeqCst),
            // What was acknowledged is kept all the same: the queue waits for the disk here.
            "pong" | "resend" => {}
            _ => panic!("not expected: {frame}"),
        }
    }

    fn acked(&mut self, ack: &Value) {
        let (channel, id) = (text(&ack["channel"]), text(&ack["id"]));
        let place = self
            .outbox
            .iter()
            .position(|send| send.id == id && send.channel == channel);
        let place = place.unwrap_or_else(|| panic!("nobody sent it, or it was acked: {ack}"));
        self.outbox.remove(place);
        self.unanswered -= 1;
        let mut record = self.shared.record.lock().expect("it lives");
        record.acked.insert((channel, id), number(&ack["seq"]));
        self.shared.acked.fetch_add(1, SeqCst);
    }

    /// What can be tried again is tried again.
    fn refused(&mut self, error: &Value) {
        let code = text(&error["code"]);
        if error.get("id").is_none() {
            // The reason of a close that follows.
            return;
        }
        let retryable = ["slow_down", "overloaded", "unavailable", "draining"];
        assert!(retryable.contains(&code.as_str()), "{error}");
        let wait = Duration::from_millis(number(&error["retry_after_ms"]));
        let id = text(&error["id"]);
        let send = self.outbox.iter_mut().find(|send| send.id == id);
        let send = send.unwrap_or_else(|| panic!("nobody sent it: {error}"));
        (send.out, send.not_before) = (false, Instant::now() + wait);
        self.unanswered -= 1;
        let mut record = self.shared.record.lock().expect("it lives");
        *record.refusals.entry(code).or_default() += 1;
    }

    fn apply(&mut self, entry: &Value) {
        let channel = text(&entry["channel"]);
        let (seq, epoch) = (number(&entry["seq"]), number(&entry["epoch"]));
        let mine = entry["user"] == self.person.name.as_str();
        let joins = mine && entry["type"] == "joined";
        match (self.positions.get(&channel), self.ended.get(&channel)) {
            (Some(position), _) => {
                assert_eq!(seq, position.0 + 1, "a gap or a repeat: {entry}");
            }
            // A new membership; or a replay that began in the former one goes on into it.
            (None, Some(left)) if joins => assert!(seq > *left, "a repeat: {entry}"),
            (None, Some(left)) => assert_eq!(seq, left + 1, "after left: {entry}"),
            (None, None) => assert!(joins, "not a member: {entry}"),
        }
        self.ended.remove(&channel);
        if mine && entry["type"] == "left" {
            self.positions.remove(&channel);
            self.ended.insert(channel.clone(), seq);
        } else {
            self.positions.insert(channel.clone(), (seq, epoch));
        }
        let id = entry["id"].as_str().unwrap_or_default().to_owned();
        let mut record = self.shared.record.lock().expect("it lives");
        record.entries.entry(channel).or_default().push((seq, id));
    }

    /// Nothing will come of this channel: the membership ended while the connection was away.
    fn reset(&mut self, reset: &Value) {
        assert_eq!(reset["reason"], "unavailable", "{reset}");
        let channel = text(&reset["channel"]);
        if let Some((seq, _)) = self.positions.remove(&channel) {
            let mut record = self.shared.record.lock().expect("it lives");
            record.given_up.push((channel.clone(), seq));
            self.ended.insert(channel, seq);
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
