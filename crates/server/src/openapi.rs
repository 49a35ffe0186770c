//! The public routes, and the document that is made from them.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use banter_protocol::error::Code;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::http::with_fallbacks;
use crate::{admin, channels, connect, history, login, metric, page};

/// What the document says about the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Banter",
        description = "Real-time chat. Everything that happens in a channel is an entry with the \
                       next number; the socket of /v1/connect is described by /asyncapi.json."
    ),
    modifiers(&AccessToken)
)]
struct Document;

/// Adds how requests say who they are from.
struct AccessToken;

impl Modify for AccessToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    }
}

/// The router of the public address.
pub(crate) fn router(app: &App) -> Router {
    let (steps, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(login::routes())
        .merge(connect::routes())
        .merge(channels::routes())
        .merge(history::routes())
        .split_for_parts();
    let document = document.to_pretty_json().unwrap_or_default();
    let document: &'static str = document.leak();
    let json = |text: &'static str| {
        (
            [(axum::http::header::CONTENT_TYPE, "application/json")],
            text,
        )
            .into_response()
    };
    let router = steps
        .route("/openapi.json", get(async move || json(document)))
        .route(
            "/asyncapi.json",
            get(async move || json(banter_protocol::ASYNCAPI)),
        )
        .route("/livez", get(admin::livez))
        .route("/readyz", get(admin::readyz))
        .merge(page::routes());
    with_fallbacks(router)
        .layer(from_fn_with_state(app.clone(), counted))
        .with_state(app.clone())
}

/// Counts a request by its route's template: paths hold ids, and labels must be few.
async fn counted(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let response = next.run(request).await;
    let code = response.status().as_u16();
    let labels = metric::Request {
        route: route.clone(),
        method,
        code,
    };
    app.metrics.requests.get_or_create(&labels).inc();
    if let Some(code) = response.extensions().get::<Code>() {
        let problems = &app.metrics.problems;
        problems.get_or_create(&code.as_str().into()).inc();
    }
    let lasted = &app.metrics.request_duration;
    lasted
        .get_or_create(&metric::Route { route })
        .observe_duration(begun.elapsed());
    response
}
