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

use crate::app::{App, AuthApp, Process};
use crate::http::with_fallbacks;
use crate::problem::Problem;
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

/// The calls of a process that lets people in.
pub(crate) fn entrance(app: &AuthApp) -> Router {
    let (router, _) = login::routes().split_for_parts();
    router.with_state(app.clone())
}

/// The calls of a process behind the login, and the web page.
pub(crate) fn gateway(app: &App) -> Router {
    let (router, _) = behind_the_login().split_for_parts();
    router.merge(page::routes()).with_state(app.clone())
}

/// The calls of a process that is all in one.
pub(crate) fn all(app: &App, auth: &AuthApp) -> Router {
    let (entrance, _) = login::routes().split_for_parts();
    let (rest, _) = behind_the_login().split_for_parts();
    let rest = rest.merge(page::routes()).with_state(app.clone());
    entrance.with_state(auth.clone()).merge(rest)
}

/// What a process answers that waits for the others of its cluster.
pub(crate) fn waiting(process: &Process) -> Router {
    admin::health(process).fallback(async || Problem::from(Code::Unavailable))
}

fn behind_the_login() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(login::account_routes())
        .merge(connect::routes())
        .merge(channels::routes())
        .merge(history::routes())
}

/// The router of the public address: `calls`, and what every process answers. The documents tell
/// of the whole, whichever part of it this process is.
pub(crate) fn router(process: &Process, calls: Router) -> Router {
    let (_, entrance) = login::routes().split_for_parts();
    let (_, rest) = behind_the_login().split_for_parts();
    let mut document = Document::openapi();
    document.merge(entrance);
    document.merge(rest);
    let document = document.to_pretty_json().unwrap_or_default();
    let document: &'static str = document.leak();
    let json = |text: &'static str| {
        (
            [(axum::http::header::CONTENT_TYPE, "application/json")],
            text,
        )
            .into_response()
    };
    let documents = Router::new()
        .route("/openapi.json", get(async move || json(document)))
        .route(
            "/asyncapi.json",
            get(async move || json(banter_protocol::ASYNCAPI)),
        );
    let all = calls.merge(documents).merge(admin::health(process));
    // Last: it covers the routes that are there.
    with_fallbacks(all).layer(from_fn_with_state(process.clone(), counted))
}

/// Counts a request by its route's template: paths hold ids, and labels must be few.
async fn counted(State(process): State<Process>, request: Request, next: Next) -> Response {
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
    process.metrics.requests.get_or_create(&labels).inc();
    let lasted = process
        .metrics
        .request_duration
        .get_or_create(&metric::Route { route });
    lasted.observe(begun.elapsed().as_secs_f64());
    response
}
