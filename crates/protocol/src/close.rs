//! Why a socket ends. 4000 to 4499: come back and resume. 4500 to 4999: do not come back unchanged.

use crate::error::Code;

macro_rules! closes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// A reason that the server chooses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Close {
            $($(#[$doc])* $variant,)*
        }

        impl Close {
            /// Every reason, by number.
            pub const ALL: &'static [Close] = &[$(Close::$variant,)*];

            /// The close code of the wire.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Close::$variant => $number,)* }
            }

            /// The reason's name, as sent in the close frame.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Close::$variant => $name,)* }
            }
        }
    };
}

closes! {
    /// Answer to the client's own close.
    Normal = 1000, "normal";
    /// A frame that RFC 6455 forbids.
    Protocol = 1002, "protocol_error";
    /// A binary frame.
    Unsupported = 1003, "unsupported_data";
    /// A text frame that is not UTF-8.
    NotUtf8 = 1007, "invalid_payload";
    /// A frame or message over the limit.
    TooBig = 1009, "too_big";
    /// The process ends; come back at once, elsewhere.
    Restart = 4000, "restart";
    /// Another gateway has more room.
    Rebalance = 4001, "rebalance";
    /// The access token is over; renew it first.
    TokenExpired = 4401, "token_expired";
    /// The client did not read what was sent.
    SlowConsumer = 4408, "slow_consumer";
    /// No answer to a ping.
    NoPong = 4410, "no_pong";
    /// A `hello` cannot be answered now.
    Unavailable = 4411, "unavailable";
    /// Too many frames; come back after `retry_after_ms`.
    TooFast = 4429, "too_fast";
    /// A frame that cannot be parsed.
    BadFrame = 4500, "bad_frame";
    /// The first frame was not `hello`.
    HelloExpected = 4501, "hello_expected";
    /// No `hello` in time.
    HelloTimeout = 4502, "hello_timeout";
    /// A bad access token.
    TokenInvalid = 4503, "token_invalid";
    /// The account is disabled.
    AccountDisabled = 4504, "account_disabled";
    /// The session was logged out.
    SessionEnded = 4505, "session_ended";
    /// The user has too many sockets.
    TooManySockets = 4509, "too_many_sockets";
}

impl Close {
    /// The code of the `error` frame that is sent before the close, where one is due.
    #[must_use]
    pub const fn error(self) -> Option<Code> {
        Some(match self {
            Close::TokenExpired => Code::TokenExpired,
            Close::Unavailable => Code::Unavailable,
            Close::TooFast => Code::TooFast,
            Close::BadFrame => Code::BadFrame,
            Close::HelloExpected => Code::HelloExpected,
            Close::HelloTimeout => Code::HelloTimeout,
            Close::TokenInvalid => Code::TokenInvalid,
            Close::AccountDisabled => Code::AccountDisabled,
            Close::SessionEnded => Code::SessionEnded,
            Close::TooManySockets => Code::TooManySockets,
            _ => return None,
        })
    }
}

/// Whether a client that was closed with this code should come back as it is.
#[must_use]
pub const fn may_reconnect(code: u16) -> bool {
    !matches!(code, 1002 | 1003 | 1007 | 1009 | 4500..=4999)
}
