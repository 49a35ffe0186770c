//! The admin address: metrics, health, drain, and a page that shows them.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::mpsc;

use crate::app::Process;
use crate::health::State as Dependency;
use crate::http::with_fallbacks;

/// The routes of the admin address. `drain` is told when somebody asks the process to go down.
pub fn router(process: &Process, drain: mpsc::Sender<()>) -> Router {
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
        .with_state(process.clone())
        .merge(health(process));
    with_fallbacks(router)
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
    let report = process.health.report().await;
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
        let missing = report
            .states
            .iter()
            .filter(|(_, state)| **state != Dependency::Up);
        reasons.extend(missing.map(|(name, state)| format!("{name} {}", state.as_str())));
        let text = match ready {
            true => "ok".to_owned(),
            false => format!("not ready: {}", reasons.join(", ")),
        };
        return (status, text).into_response();
    }
    let states = report.states.iter();
    let states: BTreeMap<_, _> = states
        .map(|(name, state)| (*name, state.as_str()))
        .collect();
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "draining": draining,
        "dependencies": states,
    });
    (status, axum::Json(body)).into_response()
}

async fn metrics(State(process): State<Process>) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(header::CONTENT_TYPE, media_type)],
        process.metrics.encode(),
    )
        .into_response()
}

async fn status(State(process): State<Process>) -> Html<String> {
    let connections = process.metrics.connections.get();
    let draining = if process.is_draining() {
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
