//! `banter new-epoch`: what an older copy of the database needs before a server starts on it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use banter_protocol::time::Timestamp;
use banter_storage::Database;
use banter_storage::log::{RedisLog, SqliteLog};
use clap::Args;

use crate::config::Location;
use crate::data_dir::Lock;
use crate::{database, print, run_async};

/// Begin anew after an older copy of the database was put back
///
/// A copy takes back messages that people have seen, and would number new ones like them. In a new
/// epoch every client notices, and reads the channels again. No server may run meanwhile, and no
/// part of a cluster but PostgreSQL and Redis; what Redis holds is of the other history, and is
/// thrown away.
#[derive(Debug, Args)]
#[command(after_help = "\
Example, one process:
  sqlite3 banter-data/banter.db \".backup copy.db\"    beside the running server
  ...                                               then, with the server stopped:
  rm banter-data/banter.db-wal banter-data/banter.db-shm
  cp copy.db banter-data/banter.db
  banter new-epoch
  banter serve

Example, a cluster:
  pg_dump -Fc banter > banter.dump                  beside the running cluster
  ...                                               then, with all of it stopped:
  dropdb banter && createdb -O banter banter
  pg_restore -d banter banter.dump
  banter new-epoch --config banter.toml")]
pub(crate) struct NewEpoch {
    #[command(flatten)]
    location: Location,
}

impl NewEpoch {
    /// Does it.
    ///
    /// # Errors
    /// When a server runs, or the database cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let settings = self.location.load(Vec::new())?.settings;
        run_async(async {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_ms = since.context("the clock stands before 1970")?.as_millis();
            let now = Timestamp::from_ms(i64::try_from(now_ms)?);
            let epoch = match database::open_existing(&settings).await? {
                Database::Sqlite(database) => {
                    let _lock = Lock::take(&settings.server.data_dir)?;
                    SqliteLog::begin_epoch(&database, now).await?
                }
                Database::Postgres(postgres) => {
                    let redis = database::open_queue(&settings).await?;
                    RedisLog::begin_epoch(&redis, &postgres, now).await?
                }
            };
            print(format!("epoch {epoch} has begun\n").as_bytes())
        })
    }
}
