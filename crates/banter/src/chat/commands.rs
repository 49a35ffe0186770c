//! What the user asks for.

use anyhow::{Result, anyhow, bail};
use banter_client::calls::Span;
use banter_protocol::id::Position;
use banter_protocol::limit;
use tokio::time::Instant;

use super::input::{HELP, Input};
use super::{Here, Talk};
use crate::account::plainly;
use crate::destination::{Joined, label};
use crate::display::visible;

impl Talk {
    pub(super) async fn on_line(&mut self, line: &str) -> Result<()> {
        let done = match Input::parse(line) {
            Input::Blank => Ok(()),
            Input::Message(text) => return self.say(&text),
            Input::Join(destination) => match destination.join(&self.client).await {
                Ok(joined) => self.enter(&joined).await.map(drop),
                Err(e) => Err(e),
            },
            Input::Create(name) => self.create(&name).await,
            Input::Leave => self.leave().await,
            Input::Channels => self.list_channels().await,
            Input::Who => self.list_members().await,
            Input::Help => self.screen.print(HELP.to_owned()),
            Input::Quit => {
                self.end();
                Ok(())
            }
            Input::Wrong(reason) => Err(anyhow!(reason)),
        };
        match done {
            // Whoever reads us is gone: that is an end, not a remark.
            Err(e) if e.root_cause().is::<std::io::Error>() => Err(e),
            Err(e) => self.note(&format!("{e:#}")),
            Ok(()) => Ok(()),
        }
    }

    fn say(&mut self, text: &str) -> Result<()> {
        let (Some(here), Some(handle)) = (&self.here, &self.handle) else {
            self.failed = true;
            return self.note("not sent, there is no channel yet: /join #name");
        };
        match handle.try_send(here.id, text) {
            Ok(id) => {
                self.open.push((id, Instant::now()));
                Ok(())
            }
            Err(e) => {
                self.failed = true;
                self.note(&format!("not sent, {e}: {}", visible(text)))
            }
        }
    }

    /// Shows a channel: its last page, then what comes. Answers where that page ends.
    pub(super) async fn enter(&mut self, joined: &Joined) -> Result<Position> {
        let id = joined.channel.id;
        let page = self
            .client
            .history(id, Span::Newest, limit::PAGE_DEFAULT)
            .await
            .map_err(plainly)?;
        self.labels.insert(id, joined.label.clone());
        self.told.remove(&id);
        self.here = Some(Here {
            id,
            seq: 0,
            mine: 0,
            day: String::new(),
        });
        let topic = match joined.channel.topic.as_str() {
            "" => String::new(),
            topic => format!(": {}", visible(topic)),
        };
        let mut text = self.display.note(&format!("{}{topic}", joined.label));
        for entry in &page.entries {
            text += &self.lines(entry);
        }
        self.screen.print(text)?;
        let last = page.entries.last();
        let seq = last.map_or(joined.head, |entry| entry.seq);
        let epoch = last.and_then(|entry| entry.epoch);
        Ok(Position {
            seq,
            epoch: epoch.unwrap_or(joined.channel.epoch),
        })
    }

    async fn create(&mut self, name: &str) -> Result<()> {
        let channel = self
            .client
            .create_channel(name, false)
            .await
            .map_err(plainly)?;
        let joined = Joined {
            head: channel.seq,
            label: label(&channel),
            channel,
            fresh: true,
        };
        self.enter(&joined).await.map(drop)
    }

    async fn leave(&mut self) -> Result<()> {
        let Some(here) = &self.here else {
            bail!("there is no channel to leave");
        };
        let id = here.id;
        self.client.leave(id).await.map_err(plainly)?;
        self.here = None;
        let label = self.label_of(id).await;
        self.note(&format!("you left {label}; /join #name goes to another"))
    }

    pub(super) async fn list_channels(&mut self) -> Result<()> {
        let channels = self.client.channels(false).await.map_err(plainly)?;
        let mut text = String::new();
        for channel in &channels {
            let label = label(channel);
            let mark = if channel.joined { '*' } else { ' ' };
            let private = if channel.private { " (private)" } else { "" };
            let topic = visible(&channel.topic);
            text += format!("{mark} {label}{private} {topic}").trim_end();
            text.push('\n');
            self.labels.insert(channel.id, label);
        }
        if channels.is_empty() {
            return self.note("there is no channel yet: /create #general makes one");
        }
        self.screen.print(text)
    }

    async fn list_members(&mut self) -> Result<()> {
        let Some(here) = &self.here else {
            bail!("there is no channel yet: /join #name");
        };
        let members = self.client.members(here.id).await.map_err(plainly)?;
        let names = members.iter().map(|member| {
            let owner = if member.role == "owner" {
                " (owner)"
            } else {
                ""
            };
            visible(&member.username) + owner
        });
        let names: Vec<String> = names.collect();
        self.note(&format!("{} members: {}", names.len(), names.join(", ")))
    }
}
