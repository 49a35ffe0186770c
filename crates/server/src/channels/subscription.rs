//! Joining and leaving by oneself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use banter_protocol::error::Code;
use banter_protocol::frame::User;

use super::membership;
use super::seat::{self, Bar};
use super::view::Subscription;
use crate::app::App;
use crate::http::{Authenticated, ChannelPath};
use crate::problem::{Problem, ProblemBody};

/// Joins a channel; a member gets the answer of its join again.
#[utoipa::path(
    put,
    path = "/v1/channels/{id}/subscription",
    operation_id = "join_channel",
    tag = "channels",
    security(("token" = [])),
    params(("id" = String, Path, description = "The channel")),
    responses(
        (status = 200, body = Subscription),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn join(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(channel): ChannelPath,
) -> Result<Json<Subscription>, Problem> {
    let me = User {
        id: me.user,
        username: me.username,
    };
    let at = seat::uncancelled(async move {
        let _seat = app.channels.hold_seat(me.id).await?;
        // Looked up under the seat: who is being removed from a private channel must not get back.
        let seen = super::seen_by(&app, me.id, channel).await?;
        // Whoever has left a private channel is let in by others only, however soon.
        if seen.private && membership::current(&app, channel, me.id).await?.is_none() {
            return Err(Code::ChannelNotFound.into());
        }
        seat::admit(&app, channel, &me, Bar::Holds).await
    });
    let at = at.await?;
    Ok(Json(Subscription {
        channel,
        seq: at.seq,
        epoch: at.epoch,
    }))
}

/// Leaves a channel. The owner's channel goes to its longest-standing member.
#[utoipa::path(
    delete,
    path = "/v1/channels/{id}/subscription",
    operation_id = "leave_channel",
    tag = "channels",
    security(("token" = [])),
    params(("id" = String, Path, description = "The channel")),
    responses(
        (status = 204, description = "Not a member any more, or never one"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn leave(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(channel): ChannelPath,
) -> Result<StatusCode, Problem> {
    super::seen_by(&app, me.user, channel).await?;
    let me = User {
        id: me.user,
        username: me.username,
    };
    seat::leave(&app, channel, me, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
