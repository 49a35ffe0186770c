//! Secrets of a cluster: made once, kept in files that their owner alone may read.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Bytes of chance in a secret.
const RANDOM_BYTES: usize = 32;

/// The secret that this file holds; made where there is none.
///
/// # Errors
/// When it can be neither read nor made, and when the file holds something else.
pub(crate) fn keep(path: &Path) -> Result<String> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let text = text.trim();
            let sound = text.len() == 2 * RANDOM_BYTES && text.is_ascii();
            ensure!(sound, "{shown} is damaged: it should hold a secret");
            return Ok(text.to_owned());
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    }
    let mut random = [0; RANDOM_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot read /dev/urandom")?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write(path, &text)?;
    Ok(text)
}

/// Writes a file that its owner alone may read: whole, or not at all.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let open = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new);
    open.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .and_then(|()| std::fs::rename(&new, path))
    .with_context(|| format!("cannot write {}", path.display()))
}
