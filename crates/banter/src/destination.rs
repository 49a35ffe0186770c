//! The channel that a command is about.

use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use banter_client::Client;
use banter_client::calls::Channel;
use banter_protocol::error::Code;
use banter_protocol::id::{ChannelId, Seq};
use banter_protocol::text::ChannelName;

use crate::account::patiently;
use crate::display::visible;

/// `#name` or an id, as typed. A name without its `#` will do too: shells take an unquoted one for
/// a comment.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    Name(ChannelName),
    Id(ChannelId),
}

impl FromStr for Destination {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Destination::Id(id));
        }
        let name = ChannelName::parse(text.strip_prefix('#').unwrap_or(text));
        name.map(Destination::Name)
            .map_err(|_| "a channel is '#name' (quoted) or an id")
    }
}

/// A channel that the user is a member of.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) channel: Channel,
    /// The last entry when it was looked up.
    pub(crate) head: Seq,
    /// For people: `#name`.
    pub(crate) label: String,
    /// Whether the membership began just now.
    pub(crate) fresh: bool,
}

impl Destination {
    /// Finds the channel, and joins it if it is public and the user is no member yet.
    pub(crate) async fn join(&self, client: &Client) -> Result<Joined> {
        let channel = self.find(client).await?;
        let label = label(&channel);
        if channel.joined {
            let head = channel.seq;
            return Ok(Joined {
                channel,
                head,
                label,
                fresh: false,
            });
        }
        let joined = patiently(async || client.join(channel.id).await).await;
        let head = joined.map_err(|e| anyhow!("cannot join {label}: {e}"))?.seq;
        Ok(Joined {
            channel,
            head,
            label,
            fresh: true,
        })
    }

    /// As [`Destination::join`]; a new membership is told on stderr.
    pub(crate) async fn join_aloud(&self, client: &Client) -> Result<Joined> {
        let joined = self.join(client).await?;
        if joined.fresh {
            eprintln!("banter: joined {}", joined.label);
        }
        Ok(joined)
    }

    /// Finds the channel, without joining it.
    pub(crate) async fn find(&self, client: &Client) -> Result<Channel> {
        let server = client.server();
        let name = match self {
            Destination::Id(id) => {
                return patiently(async || match client.channel(*id).await {
                    Err(e) if e.is(Code::ChannelNotFound) => Ok(None),
                    found => found.map(Some),
                })
                .await?
                .ok_or_else(|| anyhow!("there is no channel {id} on {server}"));
            }
            Destination::Name(name) => name.as_str(),
        };
        let found: Result<Vec<Channel>> =
            patiently(async || client.find_channels(name).await).await;
        let mut found = found?;
        // A private channel may bear the name of a public one.
        if found.iter().any(|channel| channel.joined) {
            found.retain(|channel| channel.joined);
        }
        match (found.pop(), found.is_empty()) {
            (Some(channel), true) => Ok(channel),
            (None, _) => bail!("there is no channel #{} on {server}", visible(name)),
            (Some(one), false) => bail!(
                "several of your channels are called #{}: give an id, such as {}",
                visible(name),
                one.id
            ),
        }
    }
}

/// How people call a channel.
pub(crate) fn label(channel: &Channel) -> String {
    format!("#{}", visible(&channel.name))
}

/// The end of a membership, told as a failure.
pub(crate) fn lost(label: &str) -> anyhow::Error {
    anyhow!("this account is no longer a member of {label}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_name_or_an_id() {
        let parse = |text: &str| text.parse::<Destination>();
        assert!(matches!(parse("#ops"), Ok(Destination::Name(n)) if n.as_str() == "ops"));
        assert!(matches!(parse("two words"), Ok(Destination::Name(_))));
        assert!(matches!(parse("##"), Ok(Destination::Name(n)) if n.as_str() == "#"));
        let id = "0190163d-8694-739b-aea5-966c26f8ad90";
        assert!(matches!(parse(id), Ok(Destination::Id(_))));
        for bad in ["", "#", "# a", "a\nb"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
