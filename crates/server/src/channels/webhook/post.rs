//! Posting: what arrives at a webhook's URL becomes a message by the webhook's account.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;

use banter_protocol::error::Code;
use banter_protocol::id::WebhookId;
use banter_storage::log::{Act, Append};
use banter_storage::webhooks::Permit;

use super::payload::Payload;
use crate::app::App;
use crate::channels::message::message_id;
use crate::http::{Peer, required};
use crate::problem::{Problem, ProblemBody};

/// Id and secret as they stand in the path.
type SecretPath = Result<Path<(String, String)>, PathRejection>;

/// Posts a message: the `text` of a Slack-compatible payload or, without one, what its attachments
/// say. Whoever has the URL may; there is no token.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/{secret}",
    operation_id = "post_to_webhook",
    tag = "webhooks",
    params(
        ("id" = String, Path, description = "The webhook"),
        ("secret" = String, Path, description = "Its secret"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 64,
            pattern = "^[!-~]+$",
            description = "The message's id: the same key again is the same message"),
    ),
    request_body = Payload,
    responses(
        (status = 201, body = String, content_type = "text/plain",
            description = "`ok`, as Slack says: the message is in the database"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post(
    State(app): State<App>,
    path: SecretPath,
    peer: Peer,
    request: Request,
) -> Result<Response, Problem> {
    let posted = accept(&app, path, peer, request).await;
    let outcome = match &posted {
        Ok(()) => "accepted",
        Err(problem) => problem.code().as_str(),
    };
    let counted = &app.metrics.webhook_posts;
    counted.get_or_create(&outcome.into()).inc();
    posted?;
    let plain = [(header::CONTENT_TYPE, "text/plain")];
    Ok((StatusCode::CREATED, plain, "ok").into_response())
}

async fn accept(app: &App, path: SecretPath, peer: Peer, request: Request) -> Result<(), Problem> {
    app.webhook_gate.knock(app, peer)?;
    let (webhook, permit) = permit(app, path).await?;
    app.webhook_gate.post(app, webhook)?;
    let id = message_id(request.headers(), crate::clock::now_ms());
    let id = id.map_err(|code| Problem::from(code).field("Idempotency-Key"))?;
    let body = required::<Payload>(request).await?.message()?;
    let append = Append {
        channel: permit.channel,
        user: permit.author.id,
        username: permit.author.username,
        act: Act::Message { id, body },
    };
    // The owner may have removed its account from the channel.
    let receipt = app.appender.append(append).await?;
    receipt.map_err(|_| Code::NotAMember)?;
    Ok(())
}

/// The webhook that the path names, where its secret is right. One that is deleted, disabled or was
/// never there is told like a wrong secret, and finding out is the same work.
async fn permit(app: &App, path: SecretPath) -> Result<(WebhookId, Permit), Problem> {
    let unknown = || Problem::from(Code::WebhookNotFound);
    let Path((id, secret)) = path.map_err(|_| unknown())?;
    let id: WebhookId = id.parse().map_err(|_| unknown())?;
    let permit = app.webhooks.permit(id).await?;
    // Nothing hashes to zeroes, as far as anybody knows.
    let right = permit.as_ref().map_or([0; 32], |permit| permit.secret);
    let matches = bool::from(right.ct_eq(&super::hash(&secret)));
    match permit {
        Some(permit) if matches => Ok((id, permit)),
        _ => Err(unknown()),
    }
}
