//! One socket, from the upgrade to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use banter_protocol::close::{Close, may_reconnect};
use banter_protocol::id::{ChannelId, Position};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

use crate::calls::Client;
use crate::error::Error;
use crate::frame::{self, Frame, Refusal, Welcome};
use crate::http::CONNECT_TIMEOUT;
use crate::upgrade::upgrade;

/// From `hello` to `welcome`: the server reads the user's channels in between.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// For what was written to leave; longer, and the network is taken for dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the server's half of a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest frame: a `welcome` with 500 channels is some 50 KB, an escaped message 100.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// After an upgrade was refused because of load, by somebody who does not say for how long.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

/// A socket that was welcomed.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// The last `error` about the socket as a whole: before a close it names the reason.
    refusal: Option<Refusal>,
}

/// How a socket, or the attempt to open one, ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The close code, where there was one.
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
    pub(crate) retry_after: Option<Duration>,
}

/// What to do after an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Come back.
    Retry,
    /// Renew the token, then come back.
    Renew,
    /// Come back once; if the same happens again, give up.
    Once,
    /// Do not come back.
    Stop,
}

impl Ending {
    fn lost(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// What the close code asks for.
    pub(crate) fn verdict(&self) -> Verdict {
        let is = |close: Close| self.code == Some(close.code());
        if is(Close::TokenExpired) {
            Verdict::Renew
        } else if is(Close::TokenInvalid) || is(Close::HelloTimeout) {
            // A renewed token is another one; and a machine that slept after its upgrade is late
            // with its `hello` only once.
            Verdict::Once
        } else if self.code.is_none_or(may_reconnect) {
            Verdict::Retry
        } else {
            Verdict::Stop
        }
    }

    /// As an error for the user, when the connection is over.
    pub(crate) fn into_error(self) -> Error {
        match self.code {
            Some(code) if code == Close::SessionEnded.code() => Error::SessionEnded,
            code => Error::Closed {
                code: code.unwrap_or(1006),
                reason: self.reason,
            },
        }
    }
}

/// Why no socket was opened.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A call before the upgrade failed.
    Call(Error),
    /// The upgrade or the greeting did.
    Ended(Ending),
}

/// Opens a socket with this token, and goes on after these positions.
pub(crate) async fn open(
    client: &Client,
    token: &str,
    positions: &BTreeMap<ChannelId, Position>,
) -> Result<(Socket, Welcome), Failure> {
    let uri = client.http.socket_uri().map_err(Failure::Call)?;
    let stream = client.http.dial().await.map_err(Failure::Call)?;
    let limits = Limits::default().max_payload_len(Some(FRAME_BYTES_MAX));
    let upgraded = timeout(CONNECT_TIMEOUT, upgrade(&client.http, stream, &uri)).await;
    let stream = match upgraded {
        Ok(Ok(stream)) => ClientBuilder::new().limits(limits).take_over(stream),
        Ok(Err(error)) => return Err(Failure::Ended(refused(&error))),
        Err(_) => return Err(Failure::Ended(Ending::lost("no answer in time"))),
    };
    let mut socket = Socket {
        stream,
        refusal: None,
    };
    let greeting = async {
        socket.feed(frame::hello(token, positions)).await?;
        socket.flush().await?;
        loop {
            match socket.next().await? {
                Frame::Welcome(welcome) => return Ok(welcome),
                Frame::Error(_) | Frame::Pong | Frame::Unknown => {}
                _ => return Err(Ending::lost("the first frame is no welcome")),
            }
        }
    };
    match timeout(WELCOME_TIMEOUT, greeting).await {
        Ok(Ok(welcome)) => Ok((socket, welcome)),
        Ok(Err(ending)) => Err(Failure::Ended(ending)),
        Err(_) => Err(Failure::Ended(Ending::lost("no welcome in time"))),
    }
}

fn refused(error: &Error) -> Ending {
    let busy = matches!(error, Error::Refused(problem) if matches!(problem.status, 429 | 503));
    Ending {
        retry_after: error.retry_after().or(busy.then_some(REFUSED_WAIT)),
        ..Ending::lost(error.to_string())
    }
}

impl Socket {
    /// The next frame; a ping, already answered, is told as a `pong`. Safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Result<Frame, Ending> {
        let message = match self.stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(e)) => return Err(Ending::lost(crate::error::root(&e))),
            None => return Err(Ending::lost("the connection was cut")),
        };
        if let Some(text) = message.as_text() {
            let frame = Frame::parse(text).map_err(|e| Ending::lost(e.to_string()))?;
            if let Frame::Error(refusal) = &frame
                && refusal.id.is_none()
            {
                self.refusal = Some(refusal.clone());
            }
            return Ok(frame);
        }
        if let Some((code, reason)) = message.as_close() {
            return Err(self.closed(code.into(), reason));
        }
        Ok(Frame::Pong)
    }

    fn closed(&mut self, code: u16, reason: &str) -> Ending {
        let refusal = self.refusal.take();
        let retry_after_ms = refusal.as_ref().and_then(|r| r.retry_after_ms);
        let reason = match refusal {
            Some(refusal) if reason.is_empty() => refusal.code,
            _ if reason.is_empty() => "closed".into(),
            _ => reason.to_owned(),
        };
        Ending {
            code: Some(code),
            reason,
            retry_after: retry_after_ms.map(Duration::from_millis),
        }
    }

    /// Writes a frame; it leaves with the next flush, or before.
    pub(crate) async fn feed(&mut self, text: String) -> Result<(), Ending> {
        let fed = timeout(WRITE_TIMEOUT, self.stream.feed(Message::text(text))).await;
        written(fed)
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Ending> {
        let flushed = timeout(WRITE_TIMEOUT, SinkExt::<Message>::flush(&mut self.stream)).await;
        written(flushed)
    }

    /// Closes it in good order; what still comes is thrown away.
    pub(crate) async fn close(mut self) {
        let closing = async {
            // Nobody is interested in how a socket ends that is not needed any more.
            let _ = SinkExt::<Message>::close(&mut self.stream).await;
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

fn written<E>(outcome: Result<Result<(), tokio_websockets::Error>, E>) -> Result<(), Ending> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(Ending::lost(crate::error::root(&e))),
        Err(_) => Err(Ending::lost("the network takes nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_to_come_back() {
        let verdict = |code| {
            Ending {
                code,
                ..Ending::lost("")
            }
            .verdict()
        };
        assert_eq!(verdict(None), Verdict::Retry);
        for code in [1000, 1001, 1011, 4000, 4001, 4408, 4410, 4411, 4429, 4499] {
            assert_eq!(verdict(Some(code)), Verdict::Retry, "{code}");
        }
        assert_eq!(verdict(Some(4401)), Verdict::Renew);
        assert_eq!(verdict(Some(4502)), Verdict::Once);
        assert_eq!(verdict(Some(4503)), Verdict::Once);
        for code in [1002, 1003, 1007, 1009, 4500, 4501, 4504, 4505, 4509, 4999] {
            assert_eq!(verdict(Some(code)), Verdict::Stop, "{code}");
        }
    }
}
