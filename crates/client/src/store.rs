//! A session on disk, for commands that come and go. Only its owner can read it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::session::Tokens;

/// The file of one user's session with one server.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

/// While it lives, no other process uses the store.
#[derive(Debug)]
pub struct Turn {
    /// Closing the file releases the lock.
    _lock: File,
}

impl Store {
    /// The session of `user` with `server` below the directory, which is made when first needed.
    #[must_use]
    pub fn of(directory: &Path, server: &str, user: &str) -> Self {
        let server = plain(server.trim_end_matches('/'));
        Self {
            path: directory.join(server).join(format!("{}.json", plain(user))),
        }
    }

    /// The users with a session with `server` below the directory, in no order.
    #[must_use]
    pub fn users(directory: &Path, server: &str) -> Vec<String> {
        let server = directory.join(plain(server.trim_end_matches('/')));
        let Ok(files) = std::fs::read_dir(server) else {
            return Vec::new();
        };
        files
            .filter_map(|file| {
                let name = file.ok()?.file_name().into_string().ok()?;
                name.strip_suffix(".json").map(str::to_owned)
            })
            .collect()
    }

    /// The user's own directory for state: `$XDG_STATE_HOME/banter` or `~/.local/state/banter`.
    #[must_use]
    pub fn directory() -> Option<PathBuf> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_STATE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".local/state")))
            .map(|state| state.join("banter"))
    }

    /// Waits until no other process uses the store.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn lock(&self) -> Result<Turn, Error> {
        let path = self.path.with_extension("lock");
        let locked = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                let directory = path.parent().unwrap_or(Path::new("."));
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)?;
                let file = private().create(true).truncate(false).open(&path)?;
                file.lock()?;
                Ok(file)
            }
        });
        match locked.await {
            Ok(Ok(file)) => Ok(Turn { _lock: file }),
            Ok(Err(source)) => Err(failed(&path, source)),
            Err(e) => Err(failed(&path, std::io::Error::other(e))),
        }
    }

    /// The kept session; `None` where there is none that can be read.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn read(&self) -> Result<Option<Tokens>, Error> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed(&self.path, source)),
        }
    }

    /// Replaces the kept session, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, tokens: &Tokens) -> Result<(), Error> {
        let fresh = self.path.with_extension("new");
        let written = (|| {
            let text = serde_json::to_vec(tokens)?;
            let mut file = private().create(true).truncate(true).open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &self.path)
        })();
        written.map_err(|source| failed(&self.path, source))
    }

    /// Forgets the kept session.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn remove(&self) -> Result<(), Error> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(&self.path, e)),
            _ => Ok(()),
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Store {
        path: path.display().to_string(),
        source,
    }
}

/// A text as a file's name: what could mean something to a file system becomes `_`.
fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let name: String = text
        .chars()
        .map(|c| if keep(c) { c } else { '_' })
        .collect();
    name.replace("..", "__")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use banter_protocol::id::UserId;

    use super::*;
    use crate::frame::User;

    fn tokens(refresh: &str) -> Tokens {
        Tokens {
            user: User {
                id: UserId::from_bytes([1; 16]),
                username: "ann".into(),
            },
            access_token: "a".into(),
            refresh_token: refresh.into(),
            asked_ms: 1,
            expires_ms: 5,
        }
    }

    #[tokio::test]
    async fn a_session_is_kept_for_its_owner_alone() {
        let name = format!("banter-store-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let store = Store::of(&directory, "http://127.0.0.1:8080/", "ann");
        assert!(store.read().unwrap().is_none());
        let turn = store.lock().await.unwrap();
        store.write(&tokens("one")).unwrap();
        store.write(&tokens("two")).unwrap();
        drop(turn);
        assert_eq!(store.read().unwrap(), Some(tokens("two")));
        let mode = std::fs::metadata(&store.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let users = Store::users(&directory, "http://127.0.0.1:8080");
        assert_eq!(users, ["ann"]);
        store.remove().unwrap();
        store.remove().unwrap();
        assert!(store.read().unwrap().is_none());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
