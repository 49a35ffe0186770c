//! History: what happened in a channel, by its numbers, for its members.

mod entry;
mod query;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use banter_protocol::entry::Entry;

use crate::app::App;
use crate::channels;
use crate::http::{Authenticated, ChannelPath, PageQuery};
use crate::problem::{Problem, ProblemBody};
use entry::EntryForm;

/// The calls of this step.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read))
}

/// A page of a channel's history.
#[derive(Debug, Serialize, ToSchema)]
struct HistoryPage {
    /// The frames of the socket, ascending by `seq`, without a gap.
    #[schema(value_type = Vec<EntryForm>)]
    items: Vec<Entry>,
    /// Whether there are entries below the page.
    has_older: bool,
    /// Whether there are entries above the page.
    has_newer: bool,
    /// False: the queue cannot be read, and newer entries exist than the page could show.
    complete: bool,
}

/// Reads a page of history: the newest entries, or those at a number.
#[utoipa::path(
    get,
    path = "/v1/channels/{id}/history",
    operation_id = "read_history",
    tag = "history",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The channel"),
        ("before" = Option<u64>, Query, description = "The newest entries below this number"),
        ("after" = Option<u64>, Query, description = "The oldest entries above this number"),
        ("around" = Option<u64>, Query, description = "This entry, with both its sides"),
        ("limit" = Option<u32>, Query, minimum = 1,
            description = "Entries a page: 50 unless told, 200 at most; more is taken as 200"),
    ),
    responses(
        (status = 200, body = HistoryPage),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn read(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(id): ChannelPath,
    query: PageQuery,
) -> Result<Json<HistoryPage>, Problem> {
    let anchor = query::anchor(&query)?;
    channels::joined_by(&app, me.user, id).await?;
    let page = app.entries.page(id, anchor, query.limit).await?;
    Ok(Json(HistoryPage {
        items: page
            .records
            .into_iter()
            .map(|record| record.entry)
            .collect(),
        has_older: page.has_older,
        has_newer: page.has_newer,
        complete: page.complete,
    }))
}
