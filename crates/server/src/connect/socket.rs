//! One socket: a task that reads frames, obeys notes and deadlines, and writes what had to wait.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use banter_protocol::close::Close;
use banter_protocol::error::Code;
use banter_protocol::frame::{ClientFrame, ErrorFrame, Hello, ServerFrame};
use banter_protocol::limit;
use banter_protocol::session::{Greeting, Identity, Request, Session, Submission};
use banter_protocol::websocket::{
    Event, close_echo, close_frame, control_frame, opcode, text_frame,
};
use banter_storage::log::{Act, Append};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::admission::Place;
use super::hello;
use super::reader::Reader;
use super::replay::Replays;
use crate::app::App;
use crate::broadcast::{Note, Outbound, Waiting};
use crate::clock;
use crate::metric::{Counted, ErrorCode, Stage};
use crate::send::{self, Pace};

/// How long the client's end of a closed conversation is waited for.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs a socket from its upgrade to its end.
pub(super) async fn run(
    app: App,
    stream: TcpStream,
    early: Vec<u8>,
    _place: Place,
    begun: std::time::Instant,
) {
    let mut counted = Counted::begin(&app.metrics);
    let mut reader = Reader::new(early);
    // What is needed only at the beginning is boxed, so that it is not kept for the rest.
    let greeted = Box::pin(greet(&app, &stream, &mut reader)).await;
    let (hello, identity) = match greeted {
        Ok(greeted) => greeted,
        Err(reason) => {
            let why = reason.map_or("gone", Close::reason);
            failed(&app, why);
            if let Some(close) = reason {
                Box::pin(refuse(&stream, &mut reader, close)).await;
            }
            counted.end(why);
            return;
        }
    };
    let Some(_seat) = app.admissions.user(identity.user) else {
        failed(&app, Close::TooManySockets.reason());
        Box::pin(refuse(&stream, &mut reader, Close::TooManySockets)).await;
        counted.end(Close::TooManySockets.reason());
        return;
    };
    let limit = app.settings.limits.outbound_bytes;
    let outbound = Arc::new(Outbound::new(
        stream,
        identity.user,
        identity.session,
        limit,
        app.metrics.traffic.clone(),
    ));
    match Box::pin(hello::answer(&app, &outbound, &identity, hello)).await {
        Ok(()) => {
            counted.set(Stage::Ready);
            let lasted = &app.metrics.handshake_duration;
            lasted.observe_duration(begun.elapsed());
        }
        Err(close) => {
            failed(&app, close.reason());
            outbound.close(close);
        }
    }
    let socket = Socket::new(&app, outbound.clone(), reader, Session::new(identity));
    let reason = socket.run(&mut counted).await;
    app.broadcast.remove(&outbound).await;
    let age = begun.elapsed();
    app.metrics.connection_age.observe_duration(age);
    counted.end(reason);
}

fn failed(app: &App, reason: &'static str) {
    let failures = &app.metrics.handshake_failures;
    failures.get_or_create(&reason.into()).inc();
}

/// Waits for a `hello` with a valid token. `Err(None)`: the client went away.
async fn greet(
    app: &App,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<(Hello, Identity), Option<Close>> {
    let first = tokio::time::timeout(limit::HELLO_TIMEOUT, first_frame(app, stream, reader)).await;
    let text = first.unwrap_or(Err(Some(Close::HelloTimeout)))?;
    let hello = Greeting.first(ClientFrame::parse(&text))?;
    let identity = app
        .verifier
        .verify_patiently(&hello.token, clock::now_ms())
        .await
        .map_err(hello::refusal)?;
    Ok((hello, identity))
}

async fn first_frame(
    app: &App,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<String, Option<Close>> {
    let per_second = app.settings.limits.socket_frames_per_second;
    let mut pace = Pace::new(per_second, std::time::Instant::now());
    loop {
        while let Some(event) = reader.next()? {
            app.metrics.frames_in.inc();
            pace.take(std::time::Instant::now()).map_err(|_| {
                app.metrics.limited("socket_frames");
                Close::TooFast
            })?;
            match event {
                Event::Text(text) => return Ok(text),
                Event::Close(code) => {
                    let _ = stream.try_write(&close_echo(code));
                    return Err(None);
                }
                Event::Ping(payload) => {
                    // A pong that does not fit into an empty send buffer is nobody's loss.
                    let _ = stream.try_write(&control_frame(opcode::PONG, &payload));
                }
                Event::Pong(_) | Event::Fragment => {}
            }
        }
        match poll_fn(|cx| reader.poll_fill(stream, cx)).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(read) => {
                app.metrics.bytes_in.inc_by(read as u64);
            }
        }
    }
}

/// Says why there will be no conversation.
async fn refuse(stream: &TcpStream, reader: &mut Reader, close: Close) {
    let mut bytes = Vec::new();
    if let Some(code) = close.error() {
        bytes.extend_from_slice(&text_frame(
            &ServerFrame::Error(error_frame(code)).to_json(),
        ));
    }
    bytes.extend_from_slice(&close_frame(close));
    // A fresh connection takes a few hundred bytes at once, or it is no connection.
    if stream.writable().await.is_ok() && stream.try_write(&bytes).is_ok() {
        part(stream, reader).await;
    }
}

fn error_frame(code: Code) -> ErrorFrame {
    ErrorFrame {
        retry_after_ms: (code == Code::TooFast).then_some(1_000),
        ..ErrorFrame::of(code)
    }
}

/// Reads on until the client has closed too, so that the last frame is not lost to a reset. Then
/// the server ends the connection, as RFC 6455 asks (7.1.1).
async fn part(stream: &TcpStream, reader: &mut Reader) {
    let parted = async {
        loop {
            match reader.next() {
                Ok(Some(Event::Close(_))) => return,
                Ok(Some(_)) => continue,
                Ok(None) => {}
                // Nothing can be decoded any more; the end of the stream is still to come.
                Err(_) => reader.discard(),
            }
            if !matches!(poll_fn(|cx| reader.poll_fill(stream, cx)).await, Ok(1..)) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(FAREWELL, parted).await;
}

/// Why a socket's task goes on.
enum Wake {
    Read(usize),
    Notes(Vec<Note>),
    /// A replay may write its next piece.
    Replay,
    Deadline,
    /// The last frame was written.
    Over,
    Gone,
}

struct Socket<'a> {
    app: &'a App,
    outbound: Arc<Outbound>,
    reader: Reader,
    session: Session,
    pace: Pace,
    replays: Replays,
    ends: Instant,
    ping_due: Instant,
    pong_due: Option<Instant>,
    /// Set once the conversation is over: when the last frames must have been written.
    over_by: Option<Instant>,
}

impl<'a> Socket<'a> {
    fn new(app: &'a App, outbound: Arc<Outbound>, reader: Reader, session: Session) -> Self {
        let per_second = app.settings.limits.socket_frames_per_second;
        let now = Instant::now();
        Self {
            app,
            outbound,
            reader,
            ends: now + lasting(&session),
            session,
            pace: Pace::new(per_second, now.into_std()),
            replays: Replays::default(),
            ping_due: now + ping_interval(),
            pong_due: None,
            over_by: None,
        }
    }

    /// Runs to the end; returns its reason.
    async fn run(mut self, counted: &mut Counted<'_>) -> &'static str {
        let mut timer = pin!(tokio::time::sleep_until(self.deadline()));
        loop {
            if let Err(close) = self.read_frames().await {
                self.outbound.close(close);
            }
            timer.as_mut().reset(self.deadline());
            match poll_fn(|cx| self.poll(timer.as_mut(), cx)).await {
                Wake::Read(0) | Wake::Gone => break "gone",
                Wake::Read(read) => {
                    self.app.metrics.bytes_in.inc_by(read as u64);
                }
                Wake::Notes(notes) => notes.into_iter().for_each(|note| self.replays.take(note)),
                Wake::Replay => {
                    if let Err(error) = Box::pin(self.replays.step(self.app, &self.outbound)).await
                    {
                        tracing::warn!(%error, "a replay could not go on");
                        self.app.metrics.replays_failed.inc();
                        self.outbound.close(Close::Unavailable);
                    }
                }
                Wake::Deadline => {
                    if self.on_deadline() {
                        break self.cut();
                    }
                    if self.over_by.is_some() {
                        counted.set(Stage::Draining);
                    }
                }
                Wake::Over => {
                    let close = self.outbound.closing().unwrap_or(Close::Normal);
                    if close != Close::Normal {
                        counted.set(Stage::Draining);
                        Box::pin(part(self.outbound.stream(), &mut self.reader)).await;
                    }
                    break close.reason();
                }
            }
        }
    }

    fn deadline(&self) -> Instant {
        if let Some(over_by) = self.over_by {
            return over_by;
        }
        self.pong_due
            .unwrap_or(self.ping_due)
            .min(self.ping_due)
            .min(self.ends)
    }

    fn poll(&mut self, timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Wake> {
        self.outbound.register(cx);
        let waiting = self.outbound.poll_drain(cx);
        if waiting == Waiting::Broken {
            return Poll::Ready(Wake::Gone);
        }
        if self.outbound.closing().is_some() {
            if waiting == Waiting::Empty {
                return Poll::Ready(Wake::Over);
            }
            if self.over_by.is_none() {
                self.over_by = Some(Instant::now() + limit::SLOW_CLOSE_TIMEOUT);
                return Poll::Ready(Wake::Deadline);
            }
            return timer.poll(cx).map(|()| Wake::Deadline);
        }
        let notes = self.outbound.take_notes();
        if !notes.is_empty() {
            return Poll::Ready(Wake::Notes(notes));
        }
        if waiting == Waiting::Empty && self.replays.is_active() {
            return Poll::Ready(Wake::Replay);
        }
        if let Poll::Ready(read) = self.reader.poll_fill(self.outbound.stream(), cx) {
            return Poll::Ready(read.map_or(Wake::Gone, Wake::Read));
        }
        timer.poll(cx).map(|()| Wake::Deadline)
    }

    /// `true`: the socket ends now.
    fn on_deadline(&mut self) -> bool {
        let now = Instant::now();
        if let Some(over_by) = self.over_by {
            return now >= over_by;
        }
        if now >= self.ends {
            self.outbound.close(Close::TokenExpired);
        } else if self.pong_due.is_some_and(|due| now >= due) {
            self.outbound.close(Close::NoPong);
        } else if now >= self.ping_due {
            self.outbound.push(&control_frame(opcode::PING, &[]));
            self.pong_due.get_or_insert(now + limit::PONG_TIMEOUT);
            self.ping_due = now + ping_interval();
        }
        false
    }

    /// The client has not taken the last frames in time: the reason of the close.
    fn cut(&self) -> &'static str {
        let closing = self.outbound.closing();
        if closing == Some(Close::SlowConsumer) {
            self.app.metrics.traffic.slow_cut.inc();
        }
        closing.map_or("gone", Close::reason)
    }

    async fn read_frames(&mut self) -> Result<(), Close> {
        while self.outbound.closing().is_none() {
            let Some(event) = self.reader.next()? else {
                return Ok(());
            };
            self.app.metrics.frames_in.inc();
            let now = std::time::Instant::now();
            self.pace.take(now).map_err(|_| {
                self.app.metrics.limited("socket_frames");
                Close::TooFast
            })?;
            match event {
                Event::Text(text) => self.on_text(&text).await?,
                Event::Fragment => {}
                Event::Ping(payload) => self.outbound.push(&control_frame(opcode::PONG, &payload)),
                Event::Pong(_) => {
                    if let Some(due) = self.pong_due.take() {
                        let rtt = limit::PONG_TIMEOUT.saturating_sub(due - Instant::now());
                        self.app.metrics.ping_rtt.observe_duration(rtt);
                    }
                }
                Event::Close(code) => self.outbound.answer_close(code),
            }
        }
        Ok(())
    }

    async fn on_text(&mut self, text: &str) -> Result<(), Close> {
        match self
            .session
            .on_frame(ClientFrame::parse(text), clock::now_ms())?
        {
            Request::Submit(submission) => self.submit(submission).await,
            Request::Renew(token) => {
                let frame = self.renew(&token);
                self.answer(&frame);
            }
            Request::Answer(frame) => self.answer(&frame),
        }
        Ok(())
    }

    async fn submit(&self, submission: Submission) {
        let Submission { channel, id, body } = submission;
        if !self.outbound.is_member(&channel) {
            let user = self.session.identity().user;
            // The same answer as over HTTP: whoever may see the channel learns more.
            let code = match Box::pin(self.app.channels.seen_by(user, channel)).await {
                Ok(Some(_)) => Code::NotAMember,
                Ok(None) => Code::ChannelNotFound,
                Err(_) => Code::Unavailable,
            };
            self.answer(&send::refusal(code, id.as_str(), channel, None));
            return;
        }
        let identity = self.session.identity();
        let append = Append {
            channel,
            user: identity.user,
            username: identity.username.clone(),
            act: Act::Message {
                id: id.clone(),
                body,
            },
        };
        if let Err(shed) = self.app.appender.submit(append, id.clone(), &self.outbound) {
            let after = Some(shed.retry_after);
            self.answer(&send::refusal(shed.code, id.as_str(), channel, after));
        }
    }

    fn renew(&mut self, token: &str) -> ServerFrame {
        let now_ms = clock::now_ms();
        let renewed = self
            .app
            .verifier
            .verify(token, now_ms)
            .map_err(|_| Code::TokenInvalid)
            .and_then(|identity| self.session.renew(identity));
        match renewed {
            Ok(()) => {
                self.ends = Instant::now() + lasting(&self.session);
                ServerFrame::Renewed {
                    expires_in: self.session.identity().expires_in(now_ms),
                }
            }
            Err(code) => ServerFrame::Error(ErrorFrame::of(code)),
        }
    }

    fn answer(&self, frame: &ServerFrame) {
        let metrics = &self.app.metrics;
        match frame {
            // Of a send.
            ServerFrame::Error(ErrorFrame { code, id, .. }) if id.is_some() => {
                metrics.refuse(*code);
            }
            ServerFrame::Error(ErrorFrame { code, .. }) => {
                let code = ErrorCode::from(code.as_str());
                metrics.error_frames.get_or_create(&code).inc();
            }
            _ => {}
        }
        self.outbound.push(&text_frame(&frame.to_json()));
    }
}

/// How long a session lasts from now on, the grace for a renewal under way included.
fn lasting(session: &Session) -> Duration {
    let ms = session.ends_ms().saturating_sub(clock::now_ms());
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Jittered by a tenth, so that sockets opened together are not pinged together.
fn ping_interval() -> Duration {
    let spread = limit::PING_INTERVAL / 10;
    limit::PING_INTERVAL - spread / 2 + spread.mul_f64(crate::random::unit())
}
