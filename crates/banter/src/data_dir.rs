//! The data directory: made when it is missing, for its owner alone, and used by one server.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::fs::Mode;

/// The file that the running server holds locked; it tells the server's process id.
const LOCK: &str = "banter.lock";

/// Keeps every file that this process makes from others: hashes, keys and messages are in them.
pub(crate) fn keep_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Makes the directory where it is missing.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn create(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| {
            let dir = dir.display();
            anyhow!(
                "cannot make the data directory {dir} ({error}); choose another with --data-dir"
            )
        })
}

/// Held by the one server on a data directory, until the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the directory for this process.
    ///
    /// # Errors
    /// When another server has it, or it cannot be written.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let shown = dir.display();
        let open = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(dir.join(LOCK));
        let mut file = open.map_err(|error| {
            anyhow!("cannot write to {shown} ({error}); choose another directory with --data-dir")
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.take(16).read_to_string(&mut pid);
                let pid = pid.trim();
                bail!(
                    "a server (process {pid}) is already using {shown}; \
                     stop it, or choose another directory with --data-dir"
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {shown}/{LOCK}"));
            }
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write to the data directory {shown}"))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_server_at_a_time() {
        let dir = std::env::temp_dir().join(format!("banter-lock-{}", std::process::id()));
        create(&dir).unwrap();
        let held = Lock::take(&dir).unwrap();
        let refused = Lock::take(&dir).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        drop(Lock::take(&dir).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
