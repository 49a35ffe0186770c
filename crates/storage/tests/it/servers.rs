//! Servers that the tests start themselves, from installed programs, on free ports and in
//! directories of their own. Nothing of them outlives the tests, however these end.

pub(crate) mod postgres;
pub(crate) mod redis;

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Ends a server with the process that started it: its input ends when that process does, even
/// when it is killed. Then the server, whose process id is the first word of a file, is killed, and
/// its directory removed.
const WATCH: &str = r#"
cat > /dev/null
if read -r pid _ < "$1/$2"; then
    kill -9 "$pid"
    # It may be dead and still be listed, where nobody asks what became of it.
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" && sleep 0.1; done
fi
rm -rf "$1"
"#;

/// A directory for a server, which lives as long as this, or as this process.
pub(crate) struct Place {
    directory: PathBuf,
    watch: Child,
}

impl Place {
    /// Makes a directory that belongs to `owner`, or to who runs the tests. The server in it will
    /// write its process id to `pid_file` there.
    pub(crate) fn new(pid_file: &str, owner: Option<u32>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("banter-")
            .tempdir()
            .unwrap();
        // From here on it is the watch that removes it.
        let directory = directory.keep();
        let watch = Command::new("sh")
            .args(["-c", WATCH, "watch"])
            .arg(&directory)
            .arg(pid_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal ends the tests, and they the watch.
            .process_group(0)
            .spawn()
            .unwrap();
        chown(&directory, owner, None).unwrap();
        Self { directory, watch }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// A port that nobody uses. It is not one of those that connections are given at their other end:
/// such a port may be gone when a server that was stopped comes back.
pub(crate) fn free_port() -> u16 {
    // Nobody may listen on it yet, and still it is another test's.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = 15_000 + u16::try_from(random % 17_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            return port;
        }
    }
}

/// The output of a command that succeeds.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}\n{complaint}");
    text
}

/// Where `program` is installed: on the path, or in one of these directories.
///
/// # Panics
/// Says how to install `package` where it is missing.
pub(crate) fn installed(program: &str, directories: &[PathBuf], package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(directories.iter().cloned())
        .map(|directory| directory.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|file| file.is_file()));
    found.unwrap_or_else(|| {
        panic!("{program} is missing: apt-get install --no-install-recommends {package}")
    })
}
