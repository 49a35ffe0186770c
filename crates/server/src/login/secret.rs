//! The server's secret: signing keys are encrypted with it, refresh tokens are derived from it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Bytes of randomness in a secret that is made here.
const BYTES: usize = 32;

/// 32 bytes that only this installation knows.
#[derive(Clone)]
pub struct ServerSecret(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerSecret(…)")
    }
}

impl ServerSecret {
    /// The secret that an operator gives as text of any form; its outer white space does not count.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(Zeroizing::new(
            Sha256::digest(text.trim().as_bytes()).into(),
        ))
    }

    /// Reads the secret from a file, or makes it where there is none, readable by its owner alone.
    ///
    /// # Errors
    /// When the file can be neither read nor made, or is empty.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                if text.trim().is_empty() {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the file is empty",
                    ));
                }
                let others = fs::metadata(path)?.permissions().mode() & 0o077;
                if others != 0 {
                    tracing::warn!(path = %path.display(), "others may read the server's secret");
                }
                Ok(Self::from_text(&text))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error),
        }
    }

    /// Writes a new secret beside its place and links it there, so that nobody reads half of it
    /// and of two who make one only the first succeeds.
    fn create(path: &Path) -> io::Result<Self> {
        let mut random = Zeroizing::new([0; BYTES]);
        getrandom::fill(&mut *random).map_err(io::Error::other)?;
        let text = Zeroizing::new(format!("{}\n", URL_SAFE_NO_PAD.encode(*random)));
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Ok(()) => Ok(Self::from_text(&text)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::load_or_create(path)
            }
            Err(error) => Err(error),
        }
    }

    /// The key for one purpose, which tells nothing about those for others.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(authenticate(&self.0, &[purpose.as_bytes()]))
    }
}

/// HMAC-SHA-256 of the parts, which must have fixed lengths, one after another.
#[must_use]
pub fn authenticate(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key to HMAC");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret.key");
        let made = ServerSecret::load_or_create(&path).unwrap();
        let read = ServerSecret::load_or_create(&path).unwrap();
        assert_eq!(*made.0, *read.0);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(format!("{made:?}"), "ServerSecret(…)");
        assert_ne!(made.derive("a"), made.derive("b"));
        fs::write(&path, "\n").unwrap();
        assert!(ServerSecret::load_or_create(&path).is_err());
    }
}
