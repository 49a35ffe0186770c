//! Sending a message over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use banter_protocol::entry::Level;
use banter_protocol::error::Code;
use banter_protocol::id::{ChannelId, Epoch, MessageId, Seq};
use banter_protocol::limit;
use banter_protocol::text;
use banter_protocol::time::Timestamp;
use banter_storage::log::{Act, Append};

use crate::app::App;
use crate::http::{Authenticated, Body, ChannelPath};
use crate::problem::{Problem, ProblemBody};

/// The header that names the message.
const KEY: &str = "idempotency-key";
/// The header by which one asks not to wait for the database (RFC 7240).
const PREFER: &str = "prefer";

/// A message to send.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewMessage {
    /// At most 16,384 bytes of UTF-8; not only white space, no U+0000.
    #[schema(min_length = 1, max_length = 16384)]
    body: String,
}

/// A message that is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SentMessage)]
pub(super) struct SentMessage {
    /// The channel.
    #[schema(value_type = String, format = Uuid)]
    channel: ChannelId,
    /// Its number.
    #[schema(value_type = u64, minimum = 1)]
    seq: Seq,
    /// Its epoch.
    #[schema(value_type = u64)]
    epoch: Epoch,
    /// The author's id for it: the `Idempotency-Key`, or one that the server made.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    id: MessageId,
    /// When the server took it.
    #[schema(value_type = String, format = DateTime)]
    sent_at: Timestamp,
    /// How safe it is.
    #[schema(value_type = LevelForm)]
    level: Level,
}

/// In the log only, or in the database.
#[derive(ToSchema)]
#[schema(as = Level, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum LevelForm {
    Queued,
    Stored,
}

// The schemas can name limits as literals only.
const _: () = assert!(limit::BODY_BYTES_MAX == 16_384);
const _: () = assert!(limit::MESSAGE_ID_BYTES_MAX == 64);

/// Sends a message. The same key again gets the first answer again, whatever the body.
#[utoipa::path(
    post,
    path = "/v1/channels/{id}/messages",
    operation_id = "send_message",
    tag = "channels",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The channel"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 64,
            pattern = "^[!-~]+$",
            description = "The message's id, one id space with the socket; a fresh UUIDv7 is best"),
        ("Prefer" = Option<String>, Header,
            description = "`respond-async`: do not wait until the message is in the database"),
    ),
    request_body = NewMessage,
    responses(
        (status = 201, body = SentMessage, description = "In the database"),
        (status = 202, body = SentMessage, description = "In the log, as was preferred"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn send(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(channel): ChannelPath,
    headers: HeaderMap,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<SentMessage>), Problem> {
    let id = message_id(&headers, crate::clock::now_ms());
    let id = id.map_err(|code| Problem::from(code).field("Idempotency-Key"))?;
    let body = text::Body::parse(&new.body);
    let body = body.map_err(|code| Problem::from(code).field("body"))?;
    let seen = super::joined_by(&app, me.user, channel).await?;
    let append = Append {
        channel,
        user: me.user,
        username: me.username,
        act: Act::Message {
            id: id.clone(),
            body,
        },
    };
    // The log looks again: the membership may have ended meanwhile.
    let left = if seen.private {
        Code::ChannelNotFound
    } else {
        Code::NotAMember
    };
    let receipt = if prefers_async(&headers) {
        app.appender.enqueue(append).await?
    } else {
        app.appender.append(append).await?
    };
    let receipt = receipt.map_err(|_| left)?;
    let status = match receipt.level {
        Level::Queued => StatusCode::ACCEPTED,
        Level::Stored => StatusCode::CREATED,
    };
    let sent = SentMessage {
        channel,
        seq: receipt.seq,
        epoch: receipt.epoch,
        id,
        sent_at: receipt.sent_at,
        level: receipt.level,
    };
    Ok((status, Json(sent)))
}

/// Whether the client would rather have a quick answer than a certain one.
fn prefers_async(headers: &HeaderMap) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next())
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

/// The id that the request names, or a fresh one.
pub(super) fn message_id(headers: &HeaderMap, now_ms: i64) -> Result<MessageId, Code> {
    let mut keys = headers.get_all(KEY).iter();
    let id = match (keys.next(), keys.next()) {
        (None, _) => Ok(Uuid::now_v7().into()),
        (Some(key), None) => key.to_str().map_err(|_| Code::IdInvalid)?.parse(),
        (Some(_), Some(_)) => return Err(Code::IdInvalid),
    };
    let id: MessageId = id.map_err(|_| Code::IdInvalid)?;
    if id.is_from_the_future(now_ms) {
        return Err(Code::IdInvalid);
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(keys: &[&[u8]], now_ms: i64) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(KEY, axum::http::HeaderValue::from_bytes(key).unwrap());
        }
        message_id(&headers, now_ms).map(|id| id.to_string())
    }

    #[test]
    fn a_quick_answer_is_asked_for_by_name() {
        let prefers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, axum::http::HeaderValue::from_static(value));
            }
            prefers_async(&headers)
        };
        assert!(prefers(&["respond-async"]));
        assert!(prefers(&["wait=10, Respond-Async; x=y"]));
        assert!(prefers(&["return=minimal", "respond-async"]));
        assert!(!prefers(&[]));
        assert!(!prefers(&["respond-asynchronously", "x=respond-async"]));
    }

    #[test]
    fn the_key_is_the_message_id() {
        assert_eq!(id(&[b"order-7"], 0), Ok("order-7".into()));
        let made = id(&[], crate::clock::now_ms()).unwrap();
        assert_eq!(made.len(), 36);
        let long = [b'a'; 65];
        for bad in [
            &[&b""[..]][..],
            &[b"a b"],
            &[b"\xc3\xa9"],
            &[b"a", b"a"],
            &[&long],
        ] {
            assert_eq!(id(bad, 0), Err(Code::IdInvalid), "{bad:?}");
        }
        let v7 = &b"0190163d-8694-739b-aea5-966c26f8ad90"[..];
        assert!(id(&[v7], 0x0190_163d_8694).is_ok());
        assert_eq!(id(&[v7], 0), Err(Code::IdInvalid));
    }
}
