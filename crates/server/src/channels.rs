//! Channels over HTTP: making, finding and reading them, joining and leaving, adding and removing.
//!
//! What one may not see does not exist: a private channel of others is answered like an unknown
//! one. Joins and leaves are entries, so they go through the log like messages do. What comes in by
//! a webhook is a message like any other.

mod create;
mod list;
mod member;
pub(crate) mod membership;
mod message;
mod page;
mod seat;
mod subscription;
mod view;
mod webhook;

pub use page::List;
pub use webhook::WebhookGate;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use banter_protocol::error::Code;
use banter_protocol::id::{ChannelId, UserId};
use banter_storage::channels::Channel;

use crate::app::App;
use crate::problem::Problem;

/// The calls of this step.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list::list, create::create))
        .routes(routes!(list::read))
        .routes(routes!(subscription::join, subscription::leave))
        .routes(routes!(list::members))
        .routes(routes!(member::add, member::remove))
        .routes(routes!(message::send))
        .merge(webhook::routes())
}

/// The channel, where `viewer` may see it.
///
/// # Errors
/// `channel_not_found`.
pub(crate) async fn seen_by(
    app: &App,
    viewer: UserId,
    channel: ChannelId,
) -> Result<Channel, Problem> {
    let seen = app.channels.seen_by(viewer, channel).await?;
    seen.ok_or_else(|| Code::ChannelNotFound.into())
}

/// The channel, where `user` owns it.
///
/// # Errors
/// `channel_not_found` where `user` may not see it, else `not_owner`.
async fn owned_by(app: &App, user: UserId, channel: ChannelId) -> Result<Channel, Problem> {
    let seen = seen_by(app, user, channel).await?;
    if owns(&seen, user) {
        Ok(seen)
    } else {
        Err(Code::NotOwner.into())
    }
}

fn owns(channel: &Channel, user: UserId) -> bool {
    channel.owner.as_ref().is_some_and(|owner| owner.id == user)
}

/// The channel, where `user` is a member of it.
///
/// # Errors
/// `channel_not_found` where `user` may not see it, `not_a_member` where it is public.
pub(crate) async fn joined_by(
    app: &App,
    user: UserId,
    channel: ChannelId,
) -> Result<Channel, Problem> {
    let seen = seen_by(app, user, channel).await?;
    if seen.joined {
        Ok(seen)
    } else {
        Err(Code::NotAMember.into())
    }
}
