//! Whether somebody is a member now, however far the database is behind the log.

use banter_protocol::id::{ChannelId, Position, UserId};
use banter_storage::Result;
use banter_storage::log::{Change, Recent};

use crate::app::App;

/// The join of a membership that lasts; `None`: there is none.
///
/// # Errors
/// When the log or the database cannot be read.
pub(crate) async fn current(
    app: &App,
    channel: ChannelId,
    user: UserId,
) -> Result<Option<Position>> {
    // The log first: what it has forgotten by now is in the database by then.
    let recent = app
        .log
        .recent(user, &[], &[channel])
        .await?
        .remove(&channel);
    if let Some(Recent {
        head,
        change: Some(Change { seq, joined }),
    }) = recent
    {
        let epoch = head.epoch;
        return Ok(joined.then_some(Position { seq, epoch }));
    }
    let stored = app.channels.membership(channel, user).await?;
    Ok(stored.map(|membership| Position {
        seq: membership.seq,
        epoch: membership.epoch,
    }))
}
