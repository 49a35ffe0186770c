//! Accounts of a load, made beside or before a server: one password, hashed once.

use anyhow::{Context as _, Result, anyhow};
use banter_protocol::id::{SessionId, UserId};
use banter_protocol::text::Username;
use banter_server::Settings;
use banter_server::clock;
use banter_server::login::password::{Cost, Hasher};
use banter_server::login::refresh::Issuer;
use banter_server::login::server_secret;
use banter_storage::accounts::{Accounts, NewAccount};
use banter_storage::sessions::NewSession;
use uuid::Uuid;

use crate::{database, run_async};

/// Makes accounts in the database of these settings; returns a refresh token for each.
///
/// # Errors
/// It cannot be written, or has an account of one of the names.
pub(super) fn make(settings: &Settings, names: &[String], password: &str) -> Result<Vec<String>> {
    run_async(async {
        let accounts = Accounts::new(&database::open(settings).await?);
        let issuer = Issuer::new(&server_secret(settings)?);
        let hash = Hasher::new(Cost::DEFAULT).hash(password).await?;
        let mut tokens = Vec::with_capacity(names.len());
        for name in names {
            let username = Username::parse(name).map_err(|code| anyhow!("{name}: {code}"))?;
            let account = NewAccount {
                id: UserId::from_uuid(Uuid::now_v7()),
                username,
                password: hash.clone(),
                created_at: clock::now(),
            };
            let session = NewSession {
                id: SessionId::from_uuid(Uuid::now_v7()),
                user: account.id,
                seed: seed()?,
                created_at: account.created_at,
            };
            let made = accounts.create(&account, Some(&session)).await?;
            anyhow::ensure!(made, "there is an account {name} already");
            tokens.push(issuer.token(session.id, &session.seed, 1));
        }
        Ok(tokens)
    })
    .context("cannot make accounts for the load")
}

/// Fresh random bytes.
fn seed() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(seed)
}
