//! The account behind a token: no secret is needed to tell it.

use axum::Json;
use axum::extract::State;
use banter_protocol::error::Code;
use banter_protocol::id::UserId;
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::Authenticated;
use crate::problem::{Problem, ProblemBody};

/// The call.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(me))
}

/// An account, as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct Me {
    /// For ever.
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    /// For ever too.
    #[schema(value_type = String)]
    username: Username,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// The account whose token it is.
#[utoipa::path(
    get,
    path = "/v1/me",
    operation_id = "me",
    tag = "auth",
    security(("token" = [])),
    responses(
        (status = 200, body = Me),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn me(
    State(app): State<App>,
    Authenticated(identity): Authenticated,
) -> Result<Json<Me>, Problem> {
    let account = app.accounts.by_id(identity.user).await?;
    let account = account.ok_or(Code::TokenInvalid)?;
    Ok(Json(Me {
        id: account.id,
        username: account.username,
        created_at: account.created_at,
    }))
}
