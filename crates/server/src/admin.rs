//! The admin address: metrics, health, drain, and a page that shows them.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::mpsc;

use crate::app::Process;
use crate::http::with_fallbacks;
use crate::status::{self, Status};

/// The routes of the admin address. `drain` is told when somebody asks the process to go down.
///
/// # Errors
/// When a thread cannot be started.
pub fn router(process: &Process, drain: mpsc::Sender<()>) -> std::io::Result<Router> {
    let router = status::routes(Status::start(process)?)
        .route("/metrics", get(metrics))
        .route(
            "/drain",
            post(async move || {
                // One request is enough; more change nothing.
                let _ = drain.try_send(());
                StatusCode::ACCEPTED
            }),
        )
        .with_state(process.clone())
        .merge(health(process));
    Ok(with_fallbacks(router))
}

/// The two calls by which others find out about a process: whether to end it, whether to use it.
pub fn health(process: &Process) -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .with_state(process.clone())
}

/// Whether the process takes work; `?verbose` tells the state of everything it needs.
async fn readyz(State(process): State<Process>, RawQuery(query): RawQuery) -> Response {
    let report = process.health.report(&process.metrics).await;
    let draining = process.is_draining();
    let ready = report.ready && !draining;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let verbose = query.as_deref().is_some_and(|query| {
        query
            .split('&')
            .any(|part| part == "verbose" || part.starts_with("verbose="))
    });
    if !verbose {
        let mut reasons = Vec::new();
        if draining {
            reasons.push("draining".to_owned());
        }
        let missing = report.missing();
        reasons.extend(missing.map(|(name, state)| format!("{name} {}", state.as_str())));
        let text = match ready {
            true => "ok".to_owned(),
            false => format!("not ready: {}", reasons.join(", ")),
        };
        return (status, text).into_response();
    }
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "draining": draining,
        "dependencies": report.described(),
    });
    (status, axum::Json(body)).into_response()
}

/// Prometheus' own text format, unless OpenMetrics is asked for.
async fn metrics(State(process): State<Process>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let (media_type, text) = if accepted.is_some_and(|it| it.contains("openmetrics-text")) {
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            process.metrics.encode_openmetrics(),
        )
    } else {
        (
            "text/plain; version=0.0.4; charset=utf-8",
            process.metrics.encode(),
        )
    };
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}
