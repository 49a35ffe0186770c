//! The admin address: metrics, health, drain, and a page that shows them.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::mpsc;

use crate::app::App;
use crate::health;
use crate::http::with_fallbacks;
use crate::status::{self, Status};

/// The routes of the admin address. `drain` is told when somebody asks the process to go down.
///
/// # Errors
/// When a thread cannot be started.
pub fn router(app: App, drain: mpsc::Sender<()>) -> std::io::Result<Router> {
    let router = status::routes(Status::start(&app)?)
        .route("/metrics", get(metrics))
        .route(
            "/drain",
            post(async move || {
                // One request is enough; more change nothing.
                let _ = drain.try_send(());
                StatusCode::ACCEPTED
            }),
        )
        .route("/livez", get(livez))
        .route("/readyz", get(readyz));
    Ok(with_fallbacks(router).with_state(app))
}

/// Whether the process is alive.
pub async fn livez() -> &'static str {
    "ok"
}

/// Whether the process takes work; `?verbose` tells the state of everything it needs.
pub async fn readyz(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let conditions = health::check(&app).await;
    let ready = health::suffices(&conditions) && !app.is_draining();
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
        return (status, if ready { "ok" } else { "not ready" }).into_response();
    }
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "draining": app.is_draining(),
        "dependencies": health::described(&conditions),
    });
    (status, axum::Json(body)).into_response()
}

/// Prometheus' own text format, unless OpenMetrics is asked for.
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let (media_type, text) = if accepted.is_some_and(|it| it.contains("openmetrics-text")) {
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            app.metrics.encode_openmetrics(),
        )
    } else {
        (
            "text/plain; version=0.0.4; charset=utf-8",
            app.metrics.encode(),
        )
    };
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}
