//! How accounts become members, one membership of an account at a time: whatever adds one, or bars
//! somebody, holds that user's seat meanwhile.

use std::future::Future;

use banter_protocol::error::Code;
use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, Position, UserId};
use banter_protocol::limit;
use banter_storage::log::{Act, Append};

use super::membership;
use crate::app::App;
use crate::problem::Problem;
use crate::send::NotAMember;

/// Does `work` to its end even when the client goes away: half of it is worse than none.
///
/// # Errors
/// Those of `work`.
pub(super) async fn uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a membership could not be changed");
            Err(Code::Internal.into())
        }
    }
}

/// Refuses a further membership of `user` at the limit. The seat is held.
///
/// # Errors
/// `too_many_channels`.
pub(super) async fn refuse_too_many(app: &App, user: UserId) -> Result<(), Problem> {
    if app.channels.count_joined(user).await? >= limit::CHANNELS_PER_USER {
        return Err(Code::TooManyChannels.into());
    }
    Ok(())
}

/// What a bar means to who lets `user` in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bar {
    /// It keeps the user out.
    Holds,
    /// The owner lifts it.
    Lifted,
}

/// Makes `user` a member, or finds that it is one. The seat is held.
///
/// # Errors
/// `barred`, `too_many_channels`, and those of the log.
pub(super) async fn admit(
    app: &App,
    channel: ChannelId,
    user: &User,
    bar: Bar,
) -> Result<Position, Problem> {
    if let Some(membership) = app.channels.membership(channel, user.id).await? {
        let stored = Position {
            seq: membership.seq,
            epoch: membership.epoch,
        };
        // A leave that waits for the database has ended it already.
        if membership::current(app, channel, user.id).await? == Some(stored) {
            return Ok(stored);
        }
    }
    let barred = app.channels.is_barred(channel, user.id).await?;
    if barred && bar == Bar::Holds {
        return Err(Code::Barred.into());
    }
    refuse_too_many(app, user.id).await?;
    if barred {
        app.channels.unbar(channel, user.id).await?;
    }
    take(app, channel, user).await
}

/// Writes the entry that makes `user` a member.
///
/// # Errors
/// Those of the log.
pub(super) async fn take(app: &App, channel: ChannelId, user: &User) -> Result<Position, Problem> {
    let append = Append {
        channel,
        user: user.id,
        username: user.username.clone(),
        act: Act::Join,
    };
    // A join is never refused.
    let receipt = app
        .appender
        .append(append)
        .await?
        .map_err(|_| Code::Internal)?;
    Ok(Position {
        seq: receipt.seq,
        epoch: receipt.epoch,
    })
}

/// Writes the entry that ends the membership of `user`, where there is one.
///
/// # Errors
/// Those of the log.
pub(super) async fn leave(
    app: &App,
    channel: ChannelId,
    user: User,
    by: Option<User>,
) -> Result<(), Problem> {
    let append = Append {
        channel,
        user: user.id,
        username: user.username,
        act: Act::Leave {
            by: by.map(|owner| (owner.id, owner.username)),
        },
    };
    match app.appender.append(append).await? {
        Ok(_) | Err(NotAMember) => Ok(()),
    }
}
