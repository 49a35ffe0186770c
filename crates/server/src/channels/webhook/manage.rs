//! Making, listing and deleting webhooks: for the owner of the channel.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use banter_protocol::error::Code;
use banter_protocol::frame::User;
use banter_protocol::id::{UserId, WebhookId};
use banter_protocol::limit;
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use banter_storage::accounts::NewAccount;
use banter_storage::webhooks::{Creation, NewWebhook, Webhook};

use crate::app::App;
use crate::channels::page::{self, List, Listed};
use crate::channels::seat::{self, Bar};
use crate::http::{Authenticated, Body, ChannelPath, PageQuery, Peer};
use crate::login::password;
use crate::problem::{Problem, ProblemBody};

/// Random bytes of a secret: far more than can be guessed, and long enough in text that a secret in
/// a log stands out.
const SECRET_BYTES: usize = 48;

/// A webhook as lists show it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookView {
    /// For ever.
    #[schema(value_type = String, format = Uuid)]
    id: WebhookId,
    /// The username that it posts under.
    #[schema(value_type = String, pattern = "^[a-z0-9._-]{3,32}$")]
    name: Username,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            name: webhook.author.username,
            created_at: webhook.created_at,
        }
    }
}

/// A webhook to make.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
pub(super) struct NewWebhookForm {
    /// The username of the account that is made with it.
    #[schema(pattern = "^[A-Za-z0-9._-]{3,32}$")]
    name: String,
}

/// A webhook that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeWebhook {
    /// For ever.
    #[schema(value_type = String, format = Uuid)]
    id: WebhookId,
    /// The username that it posts under.
    #[schema(value_type = String, pattern = "^[a-z0-9._-]{3,32}$")]
    name: Username,
    /// Where it takes messages. Whoever knows it can post; it is not shown again.
    url: String,
}

/// Lists a channel's webhooks, without their secrets, in the order in which they were made.
#[utoipa::path(
    get,
    path = "/v1/channels/{id}/webhooks",
    operation_id = "list_webhooks",
    tag = "webhooks",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The channel"),
        ("limit" = Option<u32>, Query, minimum = 1,
            description = "Items a page: 50 unless told, 200 at most; more is taken as 200"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = List<WebhookView>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(id): ChannelPath,
    query: PageQuery,
) -> Result<Json<List<WebhookView>>, Problem> {
    let after = page::after(Listed::Webhooks, &query)?.map(WebhookId::from_bytes);
    crate::channels::owned_by(&app, me.user, id).await?;
    let rows = app.webhooks.list(id, after, page::rows(&query)).await?;
    let page = page::page(Listed::Webhooks, rows, query.limit, |w| *w.id.as_bytes());
    Ok(Json(page))
}

/// Makes a webhook, and with it the account that it posts as, which joins the channel.
#[utoipa::path(
    post,
    path = "/v1/channels/{id}/webhooks",
    operation_id = "create_webhook",
    tag = "webhooks",
    security(("token" = [])),
    params(("id" = String, Path, description = "The channel")),
    request_body = NewWebhookForm,
    responses(
        (status = 201, body = MadeWebhook, description = "The secret is in the URL, this once"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(channel): ChannelPath,
    peer: Peer,
    Body(form): Body<NewWebhookForm>,
) -> Result<impl IntoResponse, Problem> {
    crate::channels::owned_by(&app, me.user, channel).await?;
    let name = Username::parse(&form.name);
    let name = name.map_err(|code| Problem::from(code).field("name"))?;
    app.webhook_gate.make(&app, peer)?;
    let secret = secret()?;
    let new = NewWebhook {
        id: WebhookId::from_uuid(Uuid::now_v7()),
        channel,
        account: NewAccount {
            id: UserId::from_uuid(Uuid::now_v7()),
            username: name.clone(),
            password: password::nobodys(),
            created_at: crate::clock::now(),
        },
        secret: super::hash(&secret),
    };
    let id = new.id;
    let url = format!("{}/v1/webhooks/{id}/{}", app.public_origin, *secret);
    seat::uncancelled(async move { make(&app, &new).await }).await?;
    // Nobody between may keep the secret.
    let unkept = [(header::CACHE_CONTROL, "no-store")];
    let made = MadeWebhook { id, name, url };
    Ok((StatusCode::CREATED, unkept, Json(made)))
}

/// Writes the webhook, then makes its account a member. Where that fails it is deleted again, and
/// another try may use the name.
async fn make(app: &App, new: &NewWebhook) -> Result<(), Problem> {
    let account = match app
        .webhooks
        .create(new, limit::WEBHOOKS_PER_CHANNEL)
        .await?
    {
        Creation::Created(account) => account,
        Creation::NameTaken => return Err(Problem::from(Code::UsernameTaken)),
        Creation::TooMany => return Err(Code::TooManyWebhooks.into()),
    };
    let author = User {
        id: account,
        username: new.account.username.clone(),
    };
    let joined = async {
        let _seat = app.channels.hold_seat(author.id).await?;
        seat::admit(app, new.channel, &author, Bar::Lifted).await
    };
    if let Err(problem) = joined.await {
        if let Err(error) = app.webhooks.delete(new.id).await {
            // The owner sees it in the list, and can delete it.
            tracing::warn!(%error, webhook = %new.id, "an unfinished webhook was left behind");
        }
        return Err(problem);
    }
    Ok(())
}

/// Deletes a webhook: its URL takes nothing more, its account leaves and is disabled.
#[utoipa::path(
    delete,
    path = "/v1/channels/{id}/webhooks/{webhook}",
    operation_id = "delete_webhook",
    tag = "webhooks",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The channel"),
        ("webhook" = String, Path, description = "The webhook's id"),
    ),
    responses(
        (status = 204, description = "Deleted; what it has posted stays"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Authenticated(me): Authenticated,
    ChannelPath(channel): ChannelPath,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    crate::channels::owned_by(&app, me.user, channel).await?;
    let id: Option<WebhookId> = path.ok().and_then(|Path((_, id))| id.parse().ok());
    let id = id.ok_or(Code::WebhookNotFound)?;
    let author = app.webhooks.author(channel, id).await?;
    let author = author.ok_or(Code::WebhookNotFound)?;
    let owner = User {
        id: me.user,
        username: me.username,
    };
    seat::uncancelled(async move {
        // It leaves first: should the rest fail, it is still in the list, and can be deleted again.
        let _seat = app.channels.hold_seat(author.id).await?;
        seat::leave(&app, channel, author, Some(owner)).await?;
        app.webhooks.delete(id).await?;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn secret() -> Result<Zeroizing<String>, Problem> {
    let mut random = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(&mut *random).map_err(|error| {
        tracing::error!(%error, "no randomness for a webhook's secret");
        Problem::from(Code::Internal)
    })?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*random)))
}
