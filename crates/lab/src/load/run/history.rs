//! Reads back what was written, for the audit.

use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};
use banter_protocol::limit;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::After;
use crate::audit::{Audit, Channel, Event};
use crate::http::{Http, together};
use crate::load::engine::{Members, read_entry};
use crate::load::target::Server;

/// Calls at once.
const CALLERS: usize = 4;
/// How often a page is asked for that the server cannot give now.
const TRIES: u32 = 20;

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    has_newer: bool,
    complete: bool,
}

/// Reads every channel in which something happened, each with the token of a member.
///
/// # Errors
/// The server refuses, or cannot tell everything.
pub(super) fn read(
    server: &Server,
    channels: &[String],
    tokens: &[String],
    names: &[String],
    audit: &mut Audit,
) -> Result<()> {
    let members: Members = names.iter().cloned().zip(0..).collect();
    let touched: Vec<_> = audit.touched().into_iter().collect();
    let audit = Mutex::new(audit);
    together(
        || server.connect(),
        CALLERS,
        &touched,
        |http, (channel, after)| {
            let place = *channel as usize;
            let (Some(id), Some(token)) = (channels.get(place), tokens.get(place)) else {
                return Ok(());
            };
            let mut take = |event| -> Result<()> {
                let mut audit = audit.lock().ok().context("a caller panicked")?;
                audit.take(event);
                Ok(())
            };
            read_channel(http, (*channel, id, token), *after, &members, &mut take)
        },
    )?;
    Ok(())
}

fn read_channel(
    http: &mut Http,
    (channel, id, token): (Channel, &str, &str),
    after: After,
    members: &Members,
    take: &mut impl FnMut(Event) -> Result<()>,
) -> Result<()> {
    let mut after = after;
    loop {
        let limit = limit::PAGE_MAX;
        let path = format!("/v1/channels/{id}/history?after={after}&limit={limit}");
        let page = page(http, &path, token)?;
        for item in &page.items {
            let entry = read_entry(item.get().as_bytes(), members);
            let entry = entry.context("an entry of history cannot be read")?;
            ensure!(entry.channel == id, "history tells of another channel");
            ensure!(entry.position.seq > after, "history does not go on");
            after = entry.position.seq;
            take(Event::Page {
                channel,
                position: entry.position,
                what: entry.what,
            })?;
        }
        if !page.has_newer {
            return Ok(());
        }
        ensure!(
            !page.items.is_empty(),
            "history tells of more, and has none"
        );
    }
}

/// A page that has everything.
fn page(http: &mut Http, path: &str, token: &str) -> Result<Page> {
    for _ in 0..TRIES {
        let answer = http.ask("GET", path, token, "")?;
        if answer.status != 503 {
            let page: Page = answer.json()?;
            if page.complete {
                return Ok(page);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    bail!("the server cannot give all of {path}")
}
