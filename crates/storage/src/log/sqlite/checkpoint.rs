//! Moves committed pages from the write-ahead log into the database file, outside any sender's
//! commit.
//!
//! Automatic checkpoints fall into a commit and doubled its 99th percentile; passive ones alone let
//! the log grow to 447 MB under load (both measured on two cores). So a background task runs
//! passive ones, and the writer restarts the log between two batches when it is long all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Notify;

use crate::error::Result;
use crate::sqlite::Sqlite;

/// Bytes of the write-ahead log that call for a passive checkpoint.
const PASSIVE_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of the write-ahead log that call for a restart between two batches.
const RESTART_BYTES: u64 = 32 * 1024 * 1024;
/// The default page of `SQLite`, plus the header of a frame in the write-ahead log.
const FRAME_BYTES: u64 = 4096 + 24;

/// Tells when a checkpoint is due. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Estimate of what was written since the last passive checkpoint.
    bytes: AtomicU64,
    passive: Notify,
    restart: AtomicBool,
}

impl Checkpoints {
    /// Starts the background task, which ends with the runtime.
    pub(super) fn start(database: Sqlite) -> Self {
        let checkpoints = Self::default();
        let shared = checkpoints.shared.clone();
        tokio::spawn(async move {
            let mut connection = None;
            loop {
                shared.passive.notified().await;
                shared.bytes.store(0, Ordering::Relaxed);
                match passive(&database, &mut connection).await {
                    Ok(length) => shared
                        .restart
                        .store(length > RESTART_BYTES, Ordering::Relaxed),
                    Err(error) => {
                        connection = None;
                        tracing::warn!(%error, "a checkpoint failed; the next one tries again");
                    }
                }
            }
        });
        checkpoints
    }

    /// Counts the entries of a batch. Each dirties about one page of the indexes it is in: 3.7 KB
    /// a row were measured.
    pub(super) fn wrote(&self, entries: usize) {
        let bytes = FRAME_BYTES * entries as u64;
        if self.shared.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > PASSIVE_BYTES {
            self.shared.passive.notify_one();
        }
    }

    /// Whether the writer should restart the log before its next batch; asking resets it.
    pub(super) fn restart_is_due(&self) -> bool {
        self.shared.restart.swap(false, Ordering::Relaxed)
    }
}

/// Runs one passive checkpoint; returns the length of the write-ahead log in bytes.
async fn passive(database: &Sqlite, connection: &mut Option<SqliteConnection>) -> Result<u64> {
    let connection = match connection {
        Some(open) => open,
        None => connection.insert(database.connect().await?),
    };
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
        .fetch_one(connection)
        .await?;
    let frames: i64 = row.try_get(1)?;
    Ok(u64::try_from(frames).unwrap_or(0) * FRAME_BYTES)
}
