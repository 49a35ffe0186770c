//! What a durable commit costs on a file system, measured without the server: with Python's own
//! SQLite, so that the yardstick is nobody's code here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::statistics::Times;

const PROBE: &str = include_str!("commit.py");

/// Commits so many rows one by one in a directory, and tells how long each took.
///
/// # Errors
/// There is no Python 3 with SQLite, or the directory cannot be written.
pub fn times(directory: &Path, count: u32) -> Result<Times> {
    let output = Command::new("python3")
        .args(["-c", PROBE])
        .arg(directory)
        .arg(count.to_string())
        .output()
        .context("start python3, which measures commits")?;
    ensure!(
        output.status.success(),
        "python3 could not measure commits: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let micros: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
    let micros = micros.context("read the times of commits")?;
    Ok(micros.into_iter().map(Duration::from_micros).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_timed() {
        let directory = tempfile::tempdir().unwrap();
        let times = times(directory.path(), 20).unwrap();
        assert_eq!(times.len(), 20);
        assert!(times.p50_ms() > 0.0);
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "nothing is left behind");
    }
}
