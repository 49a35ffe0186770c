//! Reading: lists of channels, one channel, its members.

use axum::Json;
use axum::extract::State;

use banter_protocol::id::{ChannelId, UserId};
use banter_storage::channels::Filter;

use super::page::{self, List, Listed};
use super::view::{ChannelView, MemberView};
use crate::app::App;
use crate::http::{Authenticated, ChannelPath, PageQuery};
use crate::problem::{Problem, ProblemBody};

/// Lists the public channels and one's own private ones, in the order in which they were made.
#[utoipa::path(
    get,
    path = "/v1/channels",
    operation_id = "list_channels",
    tag = "channels",
    security(("token" = [])),
    params(
        ("name" = Option<String>, Query, description = "Only channels with exactly this name"),
        ("joined" = Option<bool>, Query, description = "Only channels one is a member of"),
        ("limit" = Option<u32>, Query, minimum = 1,
            description = "Items a page: 50 unless told, 200 at most; more is taken as 200"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = List<ChannelView>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    query: PageQuery,
) -> Result<Json<List<ChannelView>>, Problem> {
    let filter = Filter {
        joined: query.flag("joined")?,
        name: query.get("name").map(str::to_owned),
    };
    let after = page::after(Listed::Channels, &query)?.map(ChannelId::from_bytes);
    let rows = app
        .channels
        .list(me.user, &filter, after, page::rows(&query))
        .await?;
    let page = page::page(Listed::Channels, rows, query.limit, |c| *c.id.as_bytes());
    Ok(Json(page))
}

/// Reads one channel.
#[utoipa::path(
    get,
    path = "/v1/channels/{id}",
    operation_id = "read_channel",
    tag = "channels",
    security(("token" = [])),
    params(("id" = String, Path, description = "The channel")),
    responses(
        (status = 200, body = ChannelView),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(id): ChannelPath,
) -> Result<Json<ChannelView>, Problem> {
    Ok(Json(super::seen_by(&app, me.user, id).await?.into()))
}

/// Lists a channel's members, in the order in which their accounts were made.
#[utoipa::path(
    get,
    path = "/v1/channels/{id}/members",
    operation_id = "list_members",
    tag = "channels",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The channel"),
        ("limit" = Option<u32>, Query, minimum = 1,
            description = "Items a page: 50 unless told, 200 at most; more is taken as 200"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = List<MemberView>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn members(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(id): ChannelPath,
    query: PageQuery,
) -> Result<Json<List<MemberView>>, Problem> {
    let after = page::after(Listed::Members, &query)?.map(UserId::from_bytes);
    super::seen_by(&app, me.user, id).await?;
    let rows = app.channels.members(id, after, page::rows(&query)).await?;
    let page = page::page(Listed::Members, rows, query.limit, |m| *m.id.as_bytes());
    Ok(Json(page))
}
