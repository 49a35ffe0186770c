//! What a figure was measured on.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine and the binary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in GB.
    pub memory_gb: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// What the measured binary says of itself.
    pub binary: String,
}

impl Machine {
    /// This machine, and a binary. What cannot be found out is left empty.
    #[must_use]
    pub fn new(binary: &Path) -> Self {
        let version = Command::new(binary).arg("--version").output();
        let version = version.map(|output| output.stdout).unwrap_or_default();
        let kilobytes = field("/proc/meminfo", "MemTotal");
        let kilobytes = kilobytes.split_ascii_whitespace().next();
        let kilobytes: u64 = kilobytes.and_then(|kb| kb.parse().ok()).unwrap_or(0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: kilobytes.div_ceil(1024 * 1024),
            kernel: kernel.trim().to_owned(),
            binary: String::from_utf8_lossy(&version).trim().to_owned(),
        }
    }
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_default()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on {} cores of {}, {} GB, Linux {}",
            self.binary, self.cores, self.processor, self.memory_gb, self.kernel
        )
    }
}
