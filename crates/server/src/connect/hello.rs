//! What a `hello` is answered with: `welcome`, resets, and where live delivery begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use banter_protocol::close::Close;
use banter_protocol::frame::{Hello, Reset, ResetReason, ServerFrame, User, Welcome};
use banter_protocol::id::{ChannelId, Position};
use banter_protocol::resume::{self, Resume};
use banter_protocol::session::Identity;
use banter_protocol::websocket::text_frame;

use crate::app::App;
use crate::broadcast::{Outbound, Subscription};
use crate::clock;
use crate::login::Denied;
use crate::metric::Outcome;

/// What a denied token closes a socket with.
pub(super) const fn refusal(denied: Denied) -> Close {
    match denied {
        Denied::Expired => Close::TokenExpired,
        Denied::Invalid => Close::TokenInvalid,
        Denied::SessionEnded => Close::SessionEnded,
        Denied::AccountDisabled => Close::AccountDisabled,
    }
}

/// Answers a `hello` whose token is valid: writes `welcome` and the resets, and begins delivery.
///
/// # Errors
/// 4411 when the user's channels cannot be read.
pub(super) async fn answer(
    app: &App,
    outbound: &Arc<Outbound>,
    identity: &Identity,
    hello: Hello,
) -> Result<(), Close> {
    app.broadcast.register(outbound).await;
    // An end of the session that came before the registration reached no socket of it.
    app.verifier.standing(identity).map_err(refusal)?;
    let joined = app.channels.joined(identity.user).await.map_err(|error| {
        tracing::warn!(%error, "a hello could not be answered");
        Close::Unavailable
    })?;
    let epoch = app.log.epoch();
    let heads: BTreeMap<ChannelId, Position> = joined
        .into_iter()
        .map(|(channel, seq)| (channel, Position { seq, epoch }))
        .collect();
    let (subscriptions, resets) = subscribe(app, &heads, hello).await?;
    outbound.set_channels(heads.keys().copied().collect());
    let welcome = welcome(app, identity, heads);
    let frames: Vec<_> = std::iter::once(welcome)
        .chain(resets.into_iter().map(ServerFrame::Reset))
        .map(|frame| text_frame(&frame.to_json()))
        .collect();
    outbound.push_all(&frames);
    app.broadcast.attach(outbound, subscriptions).await;
    Ok(())
}

fn welcome(app: &App, identity: &Identity, heads: BTreeMap<ChannelId, Position>) -> ServerFrame {
    let now = clock::now();
    ServerFrame::Welcome(Welcome {
        user: User {
            id: identity.user,
            username: identity.username.clone(),
        },
        session: identity.session,
        expires_in: identity.expires_in(now.as_ms()),
        server_time: now,
        level: app.appender.level(),
        channels: heads,
    })
}

/// Where each channel goes on: at its head, or where the client asked to resume.
async fn subscribe(
    app: &App,
    heads: &BTreeMap<ChannelId, Position>,
    hello: Hello,
) -> Result<(Vec<Subscription>, Vec<Reset>), Close> {
    let mut after: BTreeMap<ChannelId, u64> = heads
        .iter()
        .map(|(channel, head)| (*channel, head.seq))
        .collect();
    let mut resets = Vec::new();
    for (name, position) in hello.resume {
        let known = name
            .parse()
            .ok()
            .and_then(|id| Some((id, *heads.get(&id)?)));
        let Some((channel, head)) = known else {
            count(app, "failed");
            resets.push(Reset {
                channel: name,
                reason: ResetReason::Unavailable,
                head: None,
            });
            continue;
        };
        match decide(app, channel, position, head).await? {
            Ok(()) => {
                count(
                    app,
                    if position.seq == head.seq {
                        "empty"
                    } else {
                        "replayed"
                    },
                );
                after.insert(channel, position.seq);
            }
            Err(reason) => {
                count(
                    app,
                    if reason == ResetReason::TooFar {
                        "too_old"
                    } else {
                        "epoch_changed"
                    },
                );
                resets.push(Reset {
                    channel: name,
                    reason,
                    head: Some(head),
                });
            }
        }
    }
    let subscriptions = after
        .into_iter()
        .zip(heads.values())
        .map(|((channel, after), head)| Subscription {
            channel,
            after,
            head: head.seq,
        })
        .collect();
    Ok((subscriptions, resets))
}

async fn decide(
    app: &App,
    channel: ChannelId,
    position: Position,
    head: Position,
) -> Result<Result<(), ResetReason>, Close> {
    let mut decision = resume::decide(position, head, None);
    if decision == Resume::AskEpoch {
        let written = app.entries.epoch_of(channel, position.seq).await;
        let written = written.map_err(|_| Close::Unavailable)?;
        decision = resume::decide(position, head, Some(written));
    }
    Ok(match decision {
        Resume::Replay => Ok(()),
        Resume::Reset(reason) => Err(reason),
        Resume::AskEpoch => Err(ResetReason::Epoch),
    })
}

fn count(app: &App, outcome: &'static str) {
    app.metrics
        .resumes
        .get_or_create(&Outcome { outcome })
        .inc();
}
