//! Servers that the tests start themselves, from installed programs, on free ports and in
//! directories of their own. Nothing of them outlives the tests, however these end.

mod postgres;
mod redis_server;

pub(crate) use postgres::{copy, database, put_back};
pub(crate) use redis_server::Redis;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    watch: Child,
}

impl Place {
    /// Makes a directory. The server in it writes its process id to `pid_file` there.
    pub(crate) fn new(pid_file: &str) -> Self {
        use std::os::unix::process::CommandExt as _;

        // In memory, where the machine has that: what is on its disk is of no interest here, and
        // a disk that is busy with something else would be the slowest part of every answer.
        let memory = Path::new("/dev/shm");
        let mut maker = tempfile::Builder::new();
        maker.prefix("banter-");
        let directory = match memory.is_dir() {
            true => maker.tempdir_in(memory),
            false => maker.tempdir(),
        };
        let directory = directory.expect("a temporary directory");
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
            .expect("a shell");
        Self { directory, watch }
    }

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

/// The output of a command that succeeds.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
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
        .find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("{program} is missing: apt-get install --no-install-recommends {package}")
    })
}
