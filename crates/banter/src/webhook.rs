//! `banter webhook`: how programs write into a channel by knowing a URL.

use anyhow::{Result, anyhow, bail};
use banter_client::Client;
use banter_client::calls::{self, Channel};
use banter_protocol::id::WebhookId;
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::account::{Account, patiently, plainly};
use crate::destination::{Destination, label};
use crate::display::visible;
use crate::{print, run_async};

/// Create, list and delete incoming webhooks of a channel
///
/// Whoever knows a webhook's URL can post into its channel, by sending what Slack takes too. Only
/// the owner of a channel has a say in its webhooks.
#[derive(Debug, Args)]
pub(crate) struct Webhook {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(Create),
    List(List),
    Delete(Delete),
}

/// Create a webhook and print its URL, which holds its secret and is shown this once
///
/// It posts under an account of its own, which is made with it and becomes a member of the channel.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter webhook create '#ops' alertmanager
  (umask 077; banter webhook create '#ops' alertmanager > banter-webhook-url)
  curl -H 'Content-Type: application/json' -d '{\"text\":\"backup done\"}' \"$URL\"")]
struct Create {
    /// '#name' (quoted) or id
    #[arg(value_name = "CHANNEL")]
    channel: Destination,
    /// The username that it posts under: 3 to 32 of a-z, 0-9, dot, underscore, hyphen
    #[arg(value_name = "NAME", value_parser = username)]
    name: Username,
    #[command(flatten)]
    account: Account,
}

/// List the webhooks of a channel, without their secrets
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter webhook list '#ops'
  banter webhook list '#ops' --json | jq -r .name")]
struct List {
    /// '#name' (quoted) or id
    #[arg(value_name = "CHANNEL")]
    channel: Destination,
    /// Print one JSON object a line: id, name, created_at
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    account: Account,
}

/// Delete a webhook: its URL takes nothing more, its account leaves the channel
///
/// What it has posted stays. The channel may have one of that name again, with another URL.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter webhook delete '#ops' alertmanager")]
struct Delete {
    /// '#name' (quoted) or id
    #[arg(value_name = "CHANNEL")]
    channel: Destination,
    /// The username that it posts under
    #[arg(value_name = "NAME", value_parser = username)]
    name: Username,
    #[command(flatten)]
    account: Account,
}

fn username(text: &str) -> Result<Username, &'static str> {
    Username::parse(text).map_err(|code| code.title())
}

impl Webhook {
    /// Does it.
    ///
    /// # Errors
    /// When it was not done, and why.
    pub(crate) fn run(&self) -> Result<()> {
        run_async(async {
            match &self.action {
                Action::Create(create) => create.run().await,
                Action::List(list) => list.run().await,
                Action::Delete(delete) => delete.run().await,
            }
        })
    }
}

impl Create {
    async fn run(&self) -> Result<()> {
        let (client, channel) = reach(&self.account, &self.channel).await?;
        // Not tried again where the answer is lost: a second one would be refused, the URL gone.
        let made = client.create_webhook(channel.id, self.name.as_str()).await;
        let made = made.map_err(plainly)?;
        print(format!("{}\n", visible(&made.url)).as_bytes())
    }
}

/// A webhook, as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    id: WebhookId,
    name: &'a str,
    created_at: Timestamp,
}

impl List {
    async fn run(&self) -> Result<()> {
        let (client, channel) = reach(&self.account, &self.channel).await?;
        let all = patiently(async || client.webhooks(channel.id).await).await?;
        let lines: Result<String> = all.iter().map(|webhook| self.line(webhook)).collect();
        print(lines?.as_bytes())
    }

    fn line(&self, webhook: &calls::Webhook) -> Result<String> {
        let (id, created_at) = (webhook.id, webhook.created_at);
        if self.json {
            let line = Line {
                id,
                name: &webhook.name,
                created_at,
            };
            return Ok(serde_json::to_string(&line)? + "\n");
        }
        let name = visible(&webhook.name);
        Ok(format!("{name:32}  since {created_at}\n"))
    }
}

impl Delete {
    async fn run(&self) -> Result<()> {
        let (client, channel) = reach(&self.account, &self.channel).await?;
        let all = patiently(async || client.webhooks(channel.id).await).await?;
        let place = label(&channel);
        let named = |webhook: &&calls::Webhook| webhook.name == self.name.as_str();
        let Some(webhook) = all.iter().find(named) else {
            bail!(
                "{place} has no webhook {}; banter webhook list shows all",
                self.name
            );
        };
        let id = webhook.id;
        patiently(async || client.delete_webhook(channel.id, id).await).await?;
        print(format!("the webhook {} of {place} takes nothing more\n", self.name).as_bytes())
    }
}

/// The channel, and who asks about it.
async fn reach(account: &Account, channel: &Destination) -> Result<(Client, Channel)> {
    let client = account.sign_in().await?;
    let found = channel.find(&client).await?;
    let me = client.user().await.username;
    if found.owner.as_deref() != Some(me.as_str()) {
        return Err(anyhow!(
            "{} belongs to {}; only the owner of a channel has a say in its webhooks",
            label(&found),
            found.owner.as_deref().map_or("nobody".into(), visible)
        ));
    }
    Ok((client, found))
}
