//! A few words with the Redis of a cluster, as an operator has them with `redis-cli`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer in bytes: `INFO` has some thousands.
const ANSWER_MAX: usize = 1 << 20;

/// A connection to it.
#[derive(Debug)]
pub(super) struct Console(BufReader<TcpStream>);

/// The part of a cluster's configuration that says where it is.
#[derive(Deserialize)]
struct Config {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    url: String,
}

impl Console {
    /// Connects to the one of the cluster in this directory.
    pub(super) fn of(dir: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(dir.join("banter.toml"));
        let text = text.context("read the cluster's configuration")?;
        let config: Config = toml::from_str(&text).context("read the cluster's configuration")?;
        let rest = config.log.url.strip_prefix("redis://:");
        let place = rest.and_then(|rest| rest.split_once('@'));
        let (password, address) = place.context("the URL of Redis has another form")?;
        let stream = TcpStream::connect(address).context("connect to Redis")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut console = Self(BufReader::new(stream));
        console.ask(&["AUTH", password])?;
        Ok(console)
    }

    /// Gives a command; its answer as a text.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        let stream = self.0.get_mut();
        stream.write_all(command.as_bytes()).context("ask Redis")?;
        let mut line = String::new();
        self.0.read_line(&mut line).context("hear Redis")?;
        let line = line.trim_end();
        let Some(kind) = line.chars().next() else {
            bail!("Redis closed the connection");
        };
        let rest = &line[kind.len_utf8()..];
        match kind {
            '+' | ':' => Ok(rest.to_owned()),
            '$' => {
                let length: usize = rest.parse().context("an answer without a length")?;
                anyhow::ensure!(length <= ANSWER_MAX, "an answer of {length} bytes");
                let mut text = vec![0; length + 2];
                self.0.read_exact(&mut text).context("hear Redis")?;
                text.truncate(length);
                String::from_utf8(text).context("hear Redis")
            }
            _ => bail!("Redis answers {line}"),
        }
    }

    /// Bytes of memory that it uses.
    pub(super) fn used_memory(&mut self) -> Result<u64> {
        let info = self.ask(&["INFO", "memory"])?;
        let mut lines = info.lines();
        let used = lines.find_map(|line| line.strip_prefix("used_memory:"));
        let used = used.context("Redis does not tell its memory")?;
        used.trim()
            .parse()
            .context("Redis does not tell its memory")
    }

    /// Sets how much it may use, in bytes, until it is started again.
    pub(super) fn set_memory(&mut self, bytes: u64) -> Result<()> {
        self.ask(&["CONFIG", "SET", "maxmemory", &bytes.to_string()])?;
        Ok(())
    }

    /// How much it may use, in bytes.
    pub(super) fn memory(&mut self) -> Result<u64> {
        let info = self.ask(&["INFO", "memory"])?;
        let mut lines = info.lines();
        let most = lines.find_map(|line| line.strip_prefix("maxmemory:"));
        let most = most.context("Redis does not tell its limit")?;
        most.trim().parse().context("Redis does not tell its limit")
    }
}
