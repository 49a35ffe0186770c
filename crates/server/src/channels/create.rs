//! Making a channel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use banter_protocol::error::Code;
use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, Position};
use banter_protocol::session::Identity;
use banter_protocol::text::{ChannelName, Topic};
use banter_storage::channels::{Channel, Creation, NewChannel};

use super::seat;
use super::view::ChannelView;
use crate::app::App;
use crate::http::{Authenticated, Body};
use crate::problem::{Problem, ProblemBody};

/// A channel to make.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewChannel)]
pub(super) struct NewChannelForm {
    /// In NFC, without control characters and outer white space; unique among public channels
    /// under Unicode case folding.
    #[schema(min_length = 1, max_length = 80)]
    name: String,
    /// What it is about.
    #[schema(max_length = 1024)]
    topic: Option<String>,
    /// Whether only its members see it.
    private: Option<bool>,
}

impl NewChannelForm {
    fn checked(self, me: &Identity) -> Result<NewChannel, Problem> {
        let name = ChannelName::parse(&self.name);
        let topic = Topic::parse(self.topic.as_deref().unwrap_or_default());
        match (name, topic) {
            (Ok(name), Ok(topic)) => Ok(NewChannel {
                id: ChannelId::from_uuid(Uuid::now_v7()),
                name,
                topic,
                private: self.private.unwrap_or_default(),
                owner: me.user,
                created_at: crate::clock::now(),
            }),
            (name, topic) => {
                let errors = [("name", name.err()), ("topic", topic.err())];
                let errors = errors
                    .into_iter()
                    .filter_map(|(field, code)| Some((field, code?)));
                Err(Problem::of_fields(errors.collect()).unwrap_or_else(|| Code::Internal.into()))
            }
        }
    }
}

/// Makes a channel, whose owner and first member one is.
#[utoipa::path(
    post,
    path = "/v1/channels",
    operation_id = "create_channel",
    tag = "channels",
    security(("token" = [])),
    request_body = NewChannelForm,
    responses(
        (status = 201, body = ChannelView),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    Body(form): Body<NewChannelForm>,
) -> Result<(StatusCode, Json<ChannelView>), Problem> {
    let new = form.checked(&me)?;
    let channel = seat::uncancelled(async move { found(&app, me, new).await }).await?;
    Ok((StatusCode::CREATED, Json(channel.into())))
}

/// Writes the channel, then its first entry. Nobody sees the channel before; where the entry
/// fails, the channel is taken back.
async fn found(app: &App, me: Identity, new: NewChannel) -> Result<Channel, Problem> {
    let _seat = app.channels.hold_seat(me.user).await?;
    seat::refuse_too_many(app, me.user).await?;
    if app.channels.create(&new).await? == Creation::NameTaken {
        return Err(Code::NameTaken.into());
    }
    let owner = User {
        id: me.user,
        username: me.username,
    };
    let head = match seat::take(app, new.id, &owner).await {
        Ok(head) => head,
        Err(problem) => written_after_all(app, &new).await.ok_or(problem)?,
    };
    Ok(Channel {
        id: new.id,
        name: new.name,
        topic: new.topic,
        private: new.private,
        owner: Some(owner),
        created_at: new.created_at,
        head,
        joined: true,
    })
}

/// The position of the first entry, which may be there although the log could not say so.
async fn written_after_all(app: &App, new: &NewChannel) -> Option<Position> {
    match app.channels.abandon(new.id).await {
        Ok(true) => None,
        Ok(false) => {
            let membership = app.channels.membership(new.id, new.owner).await.ok()??;
            Some(Position {
                seq: membership.seq,
                epoch: membership.epoch,
            })
        }
        Err(error) => {
            // Its name is free again in a minute.
            tracing::warn!(%error, channel = %new.id, "an unfinished channel was left behind");
            None
        }
    }
}
