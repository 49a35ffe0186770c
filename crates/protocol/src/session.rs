//! What may follow what on a socket. Before `hello` there is only a [`Greeting`], which has no
//! method that could do harm; `hello` turns it into a [`Session`].

use crate::close::Close;
use crate::error::Code;
use crate::frame::{ClientFrame, ErrorFrame, Hello, Send, ServerFrame, Unreadable};
use crate::id::{ChannelId, MessageId, SessionId, UserId};
use crate::limit;
use crate::text::{Body, Username};

/// A socket that has not said who it is.
#[derive(Debug, Default)]
pub struct Greeting;

/// What a valid access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub user: UserId,
    /// Its name.
    pub username: Username,
    /// The login it belongs to.
    pub session: SessionId,
    /// When the token ends, in milliseconds since 1970.
    pub expires_ms: i64,
}

impl Identity {
    /// Whole seconds until the token ends; 0 when it has.
    #[must_use]
    pub fn expires_in(&self, now_ms: i64) -> u64 {
        u64::try_from((self.expires_ms - now_ms) / 1000).unwrap_or(0)
    }
}

impl Greeting {
    /// Takes the first frame, which must be `hello`.
    ///
    /// # Errors
    /// 4500 for a frame that cannot be parsed, 4501 for any other.
    pub fn first(self, frame: Result<ClientFrame, Unreadable>) -> Result<Hello, Close> {
        match frame {
            Ok(ClientFrame::Hello(hello)) => Ok(hello),
            Err(Unreadable::BadFrame) => Err(Close::BadFrame),
            Ok(_) | Err(Unreadable::UnknownType) => Err(Close::HelloExpected),
        }
    }
}

/// A socket whose user is known.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
}

/// What a frame of a known user asks for.
#[derive(PartialEq, Eq)]
pub enum Request {
    /// Put a message into a channel, where the user is a member.
    Submit(Submission),
    /// Renew the session with this access token.
    Renew(String),
    /// Answer with this frame; nothing else is to be done.
    Answer(ServerFrame),
}

impl std::fmt::Debug for Request {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Submit(submission) => submission.fmt(f),
            Self::Renew(_) => f.write_str("Renew"),
            Self::Answer(frame) => frame.fmt(f),
        }
    }
}

/// A message that keeps every rule that can be checked without knowing the channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Submission {
    /// Where to.
    pub channel: ChannelId,
    /// The author's id for it.
    pub id: MessageId,
    /// What.
    pub body: Body,
}

impl Session {
    /// The session that a valid `hello` begins.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self { identity }
    }

    /// Whose session it is, and how long its token lasts.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the socket ends unless the token is renewed, in milliseconds since 1970.
    #[must_use]
    pub fn ends_ms(&self) -> i64 {
        let grace = i64::try_from(limit::TOKEN_GRACE.as_millis()).unwrap_or(i64::MAX);
        self.identity.expires_ms.saturating_add(grace)
    }

    /// Takes a renewed token's identity; only the same user and session may renew.
    ///
    /// # Errors
    /// [`Code::TokenInvalid`].
    pub fn renew(&mut self, identity: Identity) -> Result<(), Code> {
        if identity.user != self.identity.user || identity.session != self.identity.session {
            return Err(Code::TokenInvalid);
        }
        self.identity = identity;
        Ok(())
    }

    /// Decides what a frame asks for, at `now_ms` milliseconds since 1970.
    ///
    /// # Errors
    /// The reason to close with.
    pub fn on_frame(
        &self,
        frame: Result<ClientFrame, Unreadable>,
        now_ms: i64,
    ) -> Result<Request, Close> {
        match frame {
            Ok(ClientFrame::Send(send)) => Ok(submission(send, now_ms)),
            Ok(ClientFrame::Auth { token }) => Ok(Request::Renew(token)),
            Ok(ClientFrame::Ping) => Ok(Request::Answer(ServerFrame::Pong {})),
            Err(Unreadable::UnknownType) => Ok(Request::Answer(ServerFrame::Error(
                ErrorFrame::of(Code::UnknownType),
            ))),
            Ok(ClientFrame::Hello(_)) | Err(Unreadable::BadFrame) => Err(Close::BadFrame),
        }
    }
}

fn submission(send: Send, now_ms: i64) -> Request {
    match check(&send, now_ms) {
        Ok(submission) => Request::Submit(submission),
        Err(code) => Request::Answer(ServerFrame::Error(ErrorFrame {
            id: Some(send.id),
            channel: Some(send.channel),
            ..ErrorFrame::of(code)
        })),
    }
}

fn check(send: &Send, now_ms: i64) -> Result<Submission, Code> {
    let id: MessageId = send.id.parse().map_err(|_| Code::IdInvalid)?;
    if id.is_from_the_future(now_ms) {
        return Err(Code::IdInvalid);
    }
    let channel = send.channel.parse().map_err(|_| Code::ChannelNotFound)?;
    Ok(Submission {
        channel,
        id,
        body: Body::parse(&send.body)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            user: UserId::from_bytes([1; 16]),
            username: Username::parse("ann").unwrap(),
            session: SessionId::from_bytes([2; 16]),
            expires_ms: 600_000,
        }
    }

    #[test]
    fn the_first_frame_is_hello_or_nothing() {
        let first = |text| Greeting.first(ClientFrame::parse(text));
        assert!(first(r#"{"type":"hello","token":"t"}"#).is_ok());
        assert_eq!(first("{").unwrap_err(), Close::BadFrame);
        assert_eq!(first(r#"{"type":"hello"}"#).unwrap_err(), Close::BadFrame);
        assert_eq!(
            first(r#"{"type":"ping"}"#).unwrap_err(),
            Close::HelloExpected
        );
        assert_eq!(
            first(r#"{"type":"sing"}"#).unwrap_err(),
            Close::HelloExpected
        );
    }

    #[test]
    fn a_second_hello_is_a_bad_frame() {
        let session = Session::new(identity());
        let frame = ClientFrame::parse(r#"{"type":"hello","token":"t"}"#);
        assert_eq!(session.on_frame(frame, 0), Err(Close::BadFrame));
    }

    #[test]
    fn a_refused_send_names_its_id() {
        let session = Session::new(identity());
        let refused = |text| match session.on_frame(ClientFrame::parse(text), 0) {
            Ok(Request::Answer(ServerFrame::Error(e))) => (e.code, e.id.unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused(r#"{"type":"send","id":"a b","channel":"x","body":"hi"}"#),
            (Code::IdInvalid, "a b".into())
        );
        assert_eq!(
            refused(r#"{"type":"send","id":"a","channel":"x","body":"hi"}"#),
            (Code::ChannelNotFound, "a".into())
        );
    }

    #[test]
    fn only_the_same_session_renews() {
        let mut session = Session::new(identity());
        let later = Identity {
            expires_ms: 1_200_000,
            ..identity()
        };
        assert_eq!(session.renew(later.clone()), Ok(()));
        assert_eq!(session.ends_ms(), 1_225_000);
        let other = Identity {
            session: SessionId::from_bytes([3; 16]),
            ..later
        };
        assert_eq!(session.renew(other), Err(Code::TokenInvalid));
    }
}
