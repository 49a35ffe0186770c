//! Adding and removing others.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use banter_protocol::error::Code;
use banter_protocol::frame::User;
use banter_protocol::id::UserId;
use banter_protocol::text::Username;
use banter_storage::channels::Channel;

use super::seat::{self, Bar};
use crate::app::App;
use crate::http::{Authenticated, ChannelPath};
use crate::problem::{Problem, ProblemBody};

type MemberPath = Result<Path<(String, String)>, PathRejection>;

/// Adds somebody: to a private channel any member may, to a public one its owner.
#[utoipa::path(
    put,
    path = "/v1/channels/{id}/members/{username}",
    operation_id = "add_member",
    tag = "channels",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The channel"),
        ("username" = String, Path, description = "Whom"),
    ),
    responses(
        (status = 204, description = "A member now, or before"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(id): ChannelPath,
    path: MemberPath,
) -> Result<StatusCode, Problem> {
    let channel = super::seen_by(&app, me.user, id).await?;
    let bar = may_add(&channel, me.user)?;
    let user = named(&app, path).await?;
    // The account of another channel's webhook is nobody here.
    let home = app.webhooks.channel_of(user.id).await?;
    if home.is_some_and(|home| home != id) {
        return Err(Code::UserNotFound.into());
    }
    seat::uncancelled(async move {
        let _seat = app.channels.hold_seat(user.id).await?;
        seat::admit(&app, id, &user, bar).await
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes somebody, and bars them from joining again until the owner adds them.
#[utoipa::path(
    delete,
    path = "/v1/channels/{id}/members/{username}",
    operation_id = "remove_member",
    tag = "channels",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The channel"),
        ("username" = String, Path, description = "Whom"),
    ),
    responses(
        (status = 204, description = "Barred, and a member no more"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(id): ChannelPath,
    path: MemberPath,
) -> Result<StatusCode, Problem> {
    super::owned_by(&app, me.user, id).await?;
    let user = named(&app, path).await?;
    if user.id == me.user {
        return Err(Code::OwnerStays.into());
    }
    let owner = User {
        id: me.user,
        username: me.username,
    };
    seat::uncancelled(async move {
        let _seat = app.channels.hold_seat(user.id).await?;
        // The bar comes first: should the entry fail, the owner sees a member and tries again.
        app.channels.bar(id, user.id).await?;
        seat::leave(&app, id, user, Some(owner)).await
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether `user`, who sees the channel, may add others, and even those who are barred.
fn may_add(channel: &Channel, user: UserId) -> Result<Bar, Code> {
    match (super::owns(channel, user), channel.private) {
        (true, _) => Ok(Bar::Lifted),
        (false, true) => Ok(Bar::Holds),
        (false, false) => Err(Code::NotOwner),
    }
}

/// The account that the path names.
async fn named(app: &App, path: MemberPath) -> Result<User, Problem> {
    let unknown = || Problem::from(Code::UserNotFound);
    let Path((_, username)) = path.map_err(|_| unknown())?;
    let username = Username::parse(&username).map_err(|_| unknown())?;
    let account = app
        .accounts
        .by_username(&username)
        .await?
        .ok_or_else(unknown)?;
    Ok(User {
        id: account.id,
        username: account.username,
    })
}
