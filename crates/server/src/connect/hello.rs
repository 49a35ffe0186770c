//! What a `hello` is answered with: `welcome`, resets, and where live delivery begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use banter_protocol::close::Close;
use banter_protocol::entry::Level;
use banter_protocol::frame::{Hello, Reset, ResetReason, ServerFrame, User, Welcome};
use banter_protocol::id::{ChannelId, Position, Seq, UserId};
use banter_protocol::resume::{self, Resume};
use banter_protocol::session::Identity;
use banter_protocol::websocket::text_frame;
use banter_storage::bus::Topic;
use banter_storage::log::{Change, Recent};

use crate::app::App;
use crate::broadcast::{Outbound, Subscription};
use crate::clock;
use crate::login::Denied;
use crate::metric::{Dependency, Outcome};

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
/// 4411 when the user's channels cannot be read or heard.
pub(super) async fn answer(
    app: &App,
    outbound: &Arc<Outbound>,
    identity: &Identity,
    hello: Hello,
) -> Result<(), Close> {
    let topic = Topic::User(identity.user);
    app.broadcast.register(outbound, app.bus.watch(topic)).await;
    app.bus.watched(topic).await.map_err(unavailable)?;
    // An end of the session that came before the registration reached no socket of it.
    app.verifier.standing(identity).map_err(refusal)?;
    let joined = app.channels.joined(identity.user);
    let joined = app.metrics.ask(Dependency::Database, "joined", joined);
    let mut read: BTreeMap<ChannelId, Seq> =
        joined.await.map_err(unavailable)?.into_iter().collect();
    let heads = heads(app, identity.user, &mut read, &hello).await;
    let heads = heads.map_err(unavailable)?;
    let (subscriptions, resets) = subscribe(app, &heads, &read, hello).await?;
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

/// The newest entry of each channel of the user, of which the database has shown `read`. What the
/// log has and the database does not yet have corrects both.
async fn heads(
    app: &App,
    user: UserId,
    read: &mut BTreeMap<ChannelId, Seq>,
    hello: &Hello,
) -> banter_storage::Result<BTreeMap<ChannelId, Position>> {
    if app.log.level() == Level::Stored {
        // The database is the log.
        let epoch = app.log.epoch();
        let head = |(channel, seq): (&ChannelId, &Seq)| (*channel, Position { seq: *seq, epoch });
        return Ok(read.iter().map(head).collect());
    }
    // A client names a channel whose join it has seen, which may not be stored yet.
    let named = hello.resume.keys().filter_map(|name| name.parse().ok());
    let named: Vec<_> = named
        .filter(|channel| !read.contains_key(channel))
        .collect();
    let joined: Vec<_> = read.keys().copied().collect();
    let mut heads = BTreeMap::new();
    for (channel, Recent { head, change }) in app.log.recent(user, &joined, &named).await? {
        match change {
            Some(Change { joined: false, .. }) => {
                read.remove(&channel);
            }
            Some(Change { seq, .. }) => {
                let seen = read.entry(channel).or_default();
                *seen = seq.max(*seen);
            }
            None => {}
        }
        if read.contains_key(&channel) {
            heads.insert(channel, head);
        }
    }
    Ok(heads)
}

fn unavailable(error: banter_storage::Error) -> Close {
    tracing::warn!(%error, "a hello could not be answered");
    Close::Unavailable
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
    read: &BTreeMap<ChannelId, Seq>,
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
            epoch: head.epoch,
            read: read.get(&channel).copied().unwrap_or(0),
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
        let written = written.map_err(unavailable)?;
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
