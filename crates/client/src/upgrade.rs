//! From a connection to a WebSocket: the HTTP upgrade, and what a server says that refuses it.
//!
//! The library's own upgrade would tell the status alone, but a server that is full says in a
//! header when to come back.

use banter_protocol::websocket::accept_key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    USER_AGENT,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;

use crate::error::{Error, root};
use crate::http::{Http, Stream};

/// The largest refusal that is read: a problem has a few hundred bytes.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// Upgrades a fresh connection to a WebSocket of `uri`.
///
/// # Errors
/// [`Error::Refused`] with the server's reason and wait, [`Error::Unreachable`], or
/// [`Error::Foreign`].
pub(crate) async fn upgrade(
    http: &Http,
    stream: Stream,
    uri: &Uri,
) -> Result<TokioIo<Upgraded>, Error> {
    let lost = |error: hyper::Error| http.unreachable(root(&error));
    let key = fresh_key();
    let request = request(uri, &key).map_err(|error| http.foreign(error.to_string()))?;
    let (mut sender, connection) = http1::handshake(stream.into_inner()).await.map_err(lost)?;
    // It ends with the upgrade, or with the answer that refuses it.
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await.map_err(lost)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = answer.into_parts();
        let read = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
        let body = read.map(|body| body.to_bytes()).unwrap_or_default();
        return Err(http.refused(&Response::from_parts(head, body)));
    }
    let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
    if accepted.map(|value| value.as_bytes()) != accept_key(&key).as_deref().map(str::as_bytes) {
        return Err(http.foreign("its Sec-WebSocket-Accept is wrong".to_owned()));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(lost)?;
    Ok(TokioIo::new(upgraded))
}

fn request(uri: &Uri, key: &str) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("banter/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key)
        .body(Empty::new())
}

/// Unlike any other, so that no cache answers (RFC 6455, 4.1); it guards nothing.
fn fresh_key() -> String {
    let mut nonce = [0; 16];
    // Without randomness of the system any key will do.
    let _ = getrandom::fill(&mut nonce);
    STANDARD.encode(nonce)
}
