//! What a client may be told when something is refused: stable codes, the same over HTTP and in
//! `error` frames.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// A stable reason. Its text is part of the interface and never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The code as it stands in answers and frames.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// The request's body is not JSON.
    BodyMalformed = "body_malformed", 400, "The body is not valid JSON.";
    /// The request itself cannot be understood.
    RequestMalformed = "request_malformed", 400, "The request is malformed.";
    /// No access token.
    TokenMissing = "token_missing", 401, "An access token is required.";
    /// Any bad access token.
    TokenInvalid = "token_invalid", 401, "The access token is not valid.";
    /// A good access token whose time is over.
    TokenExpired = "token_expired", 401, "The access token has expired; refresh it.";
    /// Unknown user, wrong password or disabled account.
    LoginFailed = "login_failed", 401, "The username or password is wrong.";
    /// Unknown, used or ended refresh token.
    RefreshInvalid = "refresh_invalid", 401, "The refresh token is not valid; log in again.";
    /// Registration is switched off.
    RegistrationClosed = "registration_closed", 403, "Registration is closed; ask an administrator.";
    /// An `Origin` that is not allowed.
    OriginRefused = "origin_refused", 403, "Requests from this origin are not allowed.";
    /// Removed by the owner.
    Barred = "barred", 403, "The owner has barred this account from the channel.";
    /// Not a member of the channel.
    NotAMember = "not_a_member", 403, "Only members of the channel may do this.";
    /// Only the owner may do this.
    NotOwner = "not_owner", 403, "Only the owner of the channel may do this.";
    /// No such path.
    RouteNotFound = "route_not_found", 404, "There is nothing at this path.";
    /// Unknown channel, or a private one of others.
    ChannelNotFound = "channel_not_found", 404, "There is no such channel.";
    /// Unknown account.
    UserNotFound = "user_not_found", 404, "There is no such user.";
    /// Unknown webhook or wrong secret.
    WebhookNotFound = "webhook_not_found", 404, "There is no such webhook.";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "This path does not take this method.";
    /// The request took too long to arrive.
    RequestTimeout = "request_timeout", 408, "The request took too long to arrive.";
    /// Somebody has this username.
    UsernameTaken = "username_taken", 409, "This username is taken.";
    /// A public channel has this name.
    NameTaken = "name_taken", 409, "A public channel has this name.";
    /// The owner can be neither added nor removed.
    OwnerStays = "owner_stays", 409, "The owner cannot be removed; the owner leaves by himself.";
    /// Member of as many channels as one may.
    TooManyChannels = "too_many_channels", 409, "This account is in as many channels as it may be.";
    /// The channel has as many webhooks as it may.
    TooManyWebhooks = "too_many_webhooks", 409, "This channel has as many webhooks as it may have.";
    /// The body is larger than allowed.
    TooLarge = "too_large", 413, "The body is larger than 64 KiB.";
    /// Not `application/json`.
    MediaType = "media_type", 415, "The content type must be application/json.";
    /// Not an object.
    NotAnObject = "not_an_object", 422, "The body must be a JSON object.";
    /// A required field is absent.
    FieldMissing = "field_missing", 422, "A required field is missing.";
    /// A field has another type than asked.
    FieldType = "field_type", 422, "A field has the wrong type.";
    /// A parameter of the query cannot be used.
    ParameterInvalid = "parameter_invalid", 422, "A parameter has a value that is not allowed.";
    /// A username outside `[a-z0-9._-]{3,32}`.
    UsernameInvalid = "username_invalid", 422, "A username has 3 to 32 of a-z, 0-9, dot, underscore, hyphen.";
    /// Too short, too long or too common.
    PasswordWeak = "password_weak", 422, "A password has at least 8 characters and is not a common one.";
    /// A channel name that breaks a rule.
    NameInvalid = "name_invalid", 422, "A channel name has 1 to 80 characters, in NFC, no control characters, no outer space.";
    /// A topic that breaks a rule.
    TopicInvalid = "topic_invalid", 422, "A topic has at most 1,024 characters.";
    /// A message body that breaks a rule.
    BodyInvalid = "body_invalid", 422, "A message has 1 to 16,384 bytes and is not blank.";
    /// A message id that breaks a rule.
    IdInvalid = "id_invalid", 422, "A message id has 1 to 64 printable ASCII characters and no future time.";
    /// `/v1/connect` without a WebSocket upgrade.
    UpgradeRequired = "upgrade_required", 426, "This path takes WebSocket upgrades only.";
    /// A channel takes no more entries just now.
    SlowDown = "slow_down", 429, "The channel takes no more entries just now.";
    /// Too many requests from one address.
    TooManyRequests = "too_many_requests", 429, "Too many requests from this address.";
    /// Too many failed logins of one account.
    LoginThrottled = "login_throttled", 429, "Too many failed logins; wait before the next.";
    /// Something went wrong here.
    Internal = "internal", 500, "Something went wrong on the server.";
    /// Storage or queue is away.
    Unavailable = "unavailable", 503, "Storage is not available just now; try again.";
    /// More work than can be done.
    Overloaded = "overloaded", 503, "The server is overloaded; try again.";
    /// The server is going down.
    Draining = "draining", 503, "The server is shutting down; connect again.";
    /// A frame that cannot be read.
    BadFrame = "bad_frame", 400, "The frame is not one of the protocol.";
    /// A frame of an unknown type.
    UnknownType = "unknown_type", 400, "This type of frame is not known.";
    /// The first frame must be `hello`.
    HelloExpected = "hello_expected", 400, "The first frame must be hello.";
    /// No `hello` in time.
    HelloTimeout = "hello_timeout", 408, "No hello arrived in time.";
    /// The account may not be used any more.
    AccountDisabled = "account_disabled", 403, "This account is disabled.";
    /// Logged out.
    SessionEnded = "session_ended", 401, "This session has ended; log in again.";
    /// More sockets than one user may have.
    TooManySockets = "too_many_sockets", 429, "This user has as many sockets as allowed.";
    /// More frames than a socket may send.
    TooFast = "too_fast", 429, "This socket sends more frames than allowed.";
}

impl Code {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Code::SlowDown
                | Code::TooManyRequests
                | Code::LoginThrottled
                | Code::Unavailable
                | Code::Overloaded
                | Code::Draining
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
