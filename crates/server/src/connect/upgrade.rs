//! `GET /v1/connect`: everything that is decided before a connection becomes a socket.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use banter_protocol::error::Code;
use banter_protocol::websocket::accept_key;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::admission::Place;
use super::socket;
use crate::app::App;
use crate::http::{Peer, Upgraded};
use crate::metric::Reason;
use crate::problem::{Problem, ProblemBody};

/// The route of this step.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(connect))
}

/// Opens a WebSocket: see the AsyncAPI document for what is spoken on it.
#[utoipa::path(
    get,
    path = "/v1/connect",
    tag = "socket",
    responses(
        (status = 101, description = "The connection is a WebSocket now."),
        (status = 400, body = ProblemBody, content_type = "application/problem+json",
         description = "The upgrade breaks RFC 6455."),
        (status = 403, body = ProblemBody, content_type = "application/problem+json",
         description = "`origin_refused`."),
        (status = 426, body = ProblemBody, content_type = "application/problem+json",
         description = "`upgrade_required`: no upgrade, or not version 13."),
        (status = 429, body = ProblemBody, content_type = "application/problem+json",
         description = "`too_many_requests`: too many sockets or upgrades of this address."),
        (status = 503, body = ProblemBody, content_type = "application/problem+json",
         description = "`draining`."),
    )
)]
async fn connect(
    State(app): State<App>,
    peer: Peer,
    mut request: Request,
) -> Result<Response, Problem> {
    let begun = Instant::now();
    match check(&app, peer, &request, begun) {
        Ok((accept, place)) => {
            let upgrade = hyper::upgrade::on(&mut request);
            app.sockets.spawn(begin(app.clone(), upgrade, place, begun));
            Ok(switching(&accept))
        }
        Err(problem) => {
            let reason = Reason {
                reason: problem.code().as_str(),
            };
            app.metrics.handshake_failures.get_or_create(&reason).inc();
            Err(problem)
        }
    }
}

fn check(
    app: &App,
    peer: Peer,
    request: &Request,
    now: Instant,
) -> Result<(HeaderValue, Place), Problem> {
    let headers = request.headers();
    check_origin(app, headers)?;
    let upgrades = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket");
    let version = headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes);
    if !upgrades || version != Some(b"13") {
        return Err(Code::UpgradeRequired.into());
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys
        .next()
        .and_then(|key| key.to_str().ok())
        .and_then(accept_key);
    let accept = key.filter(|_| keys.next().is_none()).ok_or_else(|| {
        Problem::from(Code::RequestMalformed).detail("Sec-WebSocket-Key must be 16 bytes in base64")
    })?;
    if app.is_draining() {
        return Err(Problem::from(Code::Draining).retry_after(Duration::from_secs(1)));
    }
    let place = app.admissions.upgrade(peer, now).map_err(|refused| {
        app.metrics.limited(refused.scope);
        Problem::from(Code::TooManyRequests).retry_after(refused.wait)
    })?;
    let accept = HeaderValue::from_str(&accept).map_err(|_| Code::Internal)?;
    Ok((accept, place))
}

/// A browser names the page's origin: our own, or one on the list.
fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let origin = origin.to_str().map_err(|_| Code::OriginRefused)?;
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if origins.next().is_none() && app.allows_origin(origin, host) {
        return Ok(());
    }
    Err(Code::OriginRefused.into())
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn switching(accept: &HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
    response
}

/// Waits for the connection itself, and hands it to the socket's task. A task of its own, so that
/// what the upgrade needed is freed.
async fn begin(app: App, upgrade: hyper::upgrade::OnUpgrade, place: Place, begun: Instant) {
    let Ok(upgraded) = upgrade.await else { return };
    let Ok((stream, early)) = take(upgraded) else {
        tracing::error!("an upgraded connection is not one of ours");
        return;
    };
    app.metrics.opened.inc();
    let sockets = app.sockets.clone();
    sockets.spawn(socket::run(app, stream, early, place, begun));
}

fn take(upgraded: hyper::upgrade::Upgraded) -> Result<(TcpStream, Vec<u8>), ()> {
    let parts = upgraded.downcast::<Upgraded>().map_err(|_| ())?;
    let io: TokioIo<_> = parts.io;
    Ok((io.into_inner().into_inner(), parts.read_buf.to_vec()))
}
