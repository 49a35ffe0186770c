//! The public routes, and the document that is made from them.

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::http::with_fallbacks;
use crate::{admin, connect, login};

/// What the document says about the whole.
#[derive(OpenApi)]
#[openapi(info(
    title = "Banter",
    description = "Real-time chat. Everything that happens in a channel is an entry with the next \
                   number; the socket of /v1/connect is described by /asyncapi.json."
))]
struct Document;

/// The router of the public address.
pub(crate) fn router(app: &App) -> Router {
    let (steps, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(login::routes())
        .merge(connect::routes())
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
        .route("/livez", get(admin::livez))
        .route("/readyz", get(admin::readyz));
    with_fallbacks(router).with_state(app.clone())
}
