//! Incoming webhooks: how programs that know nothing but a URL write into a channel.
//!
//! The owner of a channel makes them (`manage`), and whoever has the URL posts (`post`) what Slack
//! takes too (`payload`). The URL holds the secret, of which only a hash is kept.

mod manage;
mod payload;
mod post;

use std::net::IpAddr;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use banter_protocol::error::Code;
use banter_protocol::id::WebhookId;
use banter_protocol::limit;
use banter_storage::webhooks::SecretHash;

use crate::app::App;
use crate::http::Peer;
use crate::login::throttle::AddressThrottle;
use crate::problem::Problem;
use crate::send::Paces;
use crate::settings::Limits;

/// The calls about webhooks.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(manage::list, manage::create))
        .routes(routes!(manage::delete))
        .routes(routes!(post::post))
}

/// How often webhooks may be made and used, in this process.
#[derive(Debug)]
pub struct WebhookGate {
    /// A webhook comes with an account, so making one counts as a registration.
    makers: AddressThrottle,
    addresses: Paces<IpAddr>,
    webhooks: Paces<WebhookId>,
}

impl WebhookGate {
    /// With the limits of the settings.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        const BURST_SECONDS: u32 =
            limit::ADDRESS_WEBHOOKS_BURST / limit::ADDRESS_WEBHOOKS_PER_SECOND;
        Self {
            makers: AddressThrottle::new(
                limits.address_logins_per_minute,
                limit::ADDRESS_LOGINS_BURST,
            ),
            addresses: Paces::new(limit::ADDRESS_WEBHOOKS_PER_SECOND, BURST_SECONDS),
            webhooks: Paces::new(limits.webhook_messages_per_second, limit::BURST_FACTOR),
        }
    }

    fn make(&self, app: &App, peer: Peer) -> Result<(), Problem> {
        let Some(address) = peer.counted() else {
            return Ok(());
        };
        let taken = self.makers.take(address, crate::clock::now_ms());
        taken.map_err(|wait| {
            app.metrics.limited("address_new_webhooks");
            Problem::from(Code::TooManyRequests).retry_after(wait)
        })
    }

    fn knock(&self, app: &App, peer: Peer) -> Result<(), Problem> {
        let Some(address) = peer.counted() else {
            return Ok(());
        };
        let taken = self.addresses.take(address, Instant::now());
        taken.map_err(|wait| {
            app.metrics.limited("address_webhooks");
            Problem::from(Code::TooManyRequests).retry_after(wait)
        })
    }

    fn post(&self, app: &App, webhook: WebhookId) -> Result<(), Problem> {
        let taken = self.webhooks.take(webhook, Instant::now());
        taken.map_err(|wait| {
            app.metrics.limited("webhook_messages");
            Problem::from(Code::SlowDown)
                .detail("This webhook has posted too much just now.")
                .retry_after(wait)
        })
    }
}

/// What is kept of a secret. It is random and long, so a plain hash tells nothing of it.
fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}
