//! Disks that fail on demand. What needs a privilege is skipped without it, saying so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a command; whether it went well.
fn run(program: &str, arguments: &[&str]) -> bool {
    let ran = Command::new(program)
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}

/// A small disk in memory, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// A disk of so many MiB; `None`: this user may not mount one.
    pub(crate) fn mount(mib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let size = format!("size={mib}m,mode=700");
        let path = dir.path().to_str().expect("UTF-8");
        if run("mount", &["-t", "tmpfs", "-o", &size, "banter-test", path]) {
            return Some(Self { dir });
        }
        eprintln!("skipped: this user may not mount a disk");
        None
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Uses up every byte.
    pub(crate) fn fill(&self) {
        use std::io::Write as _;

        let mut file = fs::File::create(self.filler()).expect("a file");
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
    }

    /// Gives the room back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.path().to_str().expect("UTF-8");
        if !run("umount", &[path]) {
            run("umount", &["-l", path]);
        }
    }
}

/// Files that nobody can write, not even through what is open; writable again when dropped.
#[derive(Debug)]
pub(crate) struct ReadOnly {
    files: Vec<PathBuf>,
}

impl ReadOnly {
    /// Makes every file of a directory so; `None`: this user or file system cannot. What is mapped
    /// into memory is left out: writing to it would end the server, and a disk that has become
    /// read-only does not do that.
    pub(crate) fn make(dir: &Path) -> Option<Self> {
        let entries = fs::read_dir(dir).expect("it is readable");
        let files = entries
            .map(|entry| entry.expect("readable").path())
            .filter(|path| !path.to_string_lossy().ends_with("-shm"))
            .collect();
        let read_only = Self { files };
        for file in &read_only.files {
            if !run("chattr", &["+i", file.to_str().expect("UTF-8")]) {
                eprintln!("skipped: this user may not make files immutable, or not here");
                return None;
            }
        }
        // Some file systems keep the flag and look at it only when a file is opened.
        let probe = tempfile::NamedTempFile::new_in(dir).expect("a file");
        let path = probe.path().to_str().expect("UTF-8");
        let enforced = run("chattr", &["+i", path])
            && std::io::Write::write_all(&mut probe.as_file(), b"x").is_err();
        run("chattr", &["-i", path]);
        if !enforced {
            eprintln!("skipped: this file system lets open files be written");
        }
        enforced.then_some(read_only)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        for file in &self.files {
            run("chattr", &["-i", file.to_str().expect("UTF-8")]);
        }
    }
}
