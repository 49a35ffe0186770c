//! The admin address: metrics, health, drain, and a page that shows them.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::mpsc;

use crate::app::App;
use crate::http::with_fallbacks;

/// The routes of the admin address. `drain` is told when somebody asks the process to go down.
pub fn router(app: App, drain: mpsc::Sender<()>) -> Router {
    let router = Router::new()
        .route("/", get(status))
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
    with_fallbacks(router).with_state(app)
}

/// Whether the process is alive.
pub async fn livez() -> &'static str {
    "ok"
}

/// Whether the process takes work; `?verbose` tells the state of everything it needs.
pub async fn readyz(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let database = app.entries.is_reachable().await;
    let ready = database && !app.is_draining();
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
        "dependencies": { "database": if database { "up" } else { "down" } },
    });
    (status, axum::Json(body)).into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], app.metrics.encode()).into_response()
}

async fn status(State(app): State<App>) -> Html<String> {
    let connections = app.metrics.connections.get();
    let draining = if app.is_draining() {
        "draining"
    } else {
        "serving"
    };
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Banter</title>\
         <h1>Banter {}</h1><p>{draining}, {connections} sockets</p>\
         <p><a href=/metrics>metrics</a> <a href=/readyz?verbose>readiness</a></p></html>",
        env!("CARGO_PKG_VERSION"),
    ))
}
