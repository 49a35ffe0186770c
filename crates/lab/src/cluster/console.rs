//! A few words with the Redis of a cluster, as an operator has them with `redis-cli`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Cluster;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer in bytes: `INFO` has some thousands.
const ANSWER_MAX: usize = 1 << 20;

/// A connection to it.
#[derive(Debug)]
pub(crate) struct Console(BufReader<TcpStream>);

impl Console {
    /// Connects to the one of this cluster.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let url = cluster.setting("log", "url")?;
        let rest = url.strip_prefix("redis://:");
        let place = rest.and_then(|rest| rest.split_once('@'));
        let (password, address) = place.context("the URL of Redis has another form")?;
        let stream = TcpStream::connect(address).context("connect to Redis")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut console = Self(BufReader::new(stream));
        console.ask(&["AUTH", password])?;
        Ok(console)
    }

    /// Gives a command; its answer as a text.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Result<String> {
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

    /// Sets how much it may use, in bytes, until it is started again.
    pub(crate) fn set_memory(&mut self, bytes: f64) -> Result<()> {
        self.ask(&["CONFIG", "SET", "maxmemory", &format!("{bytes:.0}")])?;
        Ok(())
    }
}
