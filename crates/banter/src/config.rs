//! `banter config`: what holds, and where each value came from. And how the configuration is made.

#[cfg(test)]
mod corpus;
mod duration;
mod keys;
mod overlay;
mod value;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::print;

pub(crate) use overlay::{Effective, Flag};

/// The commented default configuration.
pub(crate) const DEFAULT_FILE: &str = include_str!("config/default.toml");

/// Column at which the origin of a value begins.
const ORIGIN_COLUMN: usize = 48;

/// The flags of every command that needs the configuration.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Location {
    /// Read the configuration from this TOML file
    #[arg(long, value_name = "FILE", env = "BANTER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of the database and the secret [default: ./banter-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
}

impl Location {
    /// Reads the configuration; `flags` are the command's own ones.
    ///
    /// # Errors
    /// The first thing that is wrong, on one line.
    pub(crate) fn load(&self, mut flags: Vec<Flag>) -> Result<Effective> {
        if let Some(dir) = &self.data_dir {
            flags.push(("server.data_dir", "--data-dir", dir.clone()));
        }
        Effective::load(self.config.as_deref(), std::env::vars_os(), &flags)
    }
}

/// Print the configuration that holds, and where each value came from
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter config                        what holds here
  banter config --config banter.toml   what would hold with this file
  banter config --default > banter.toml   a commented file to start from")]
pub(crate) struct Config {
    /// Print the commented default configuration instead
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    location: Location,
}

impl Config {
    /// Prints to stdout.
    ///
    /// # Errors
    /// The first thing that is wrong with the configuration, or stdout.
    pub(crate) fn run(&self) -> Result<()> {
        let text = if self.default {
            DEFAULT_FILE.to_owned()
        } else {
            render(&self.location.load(Vec::new())?)
        };
        print(text.as_bytes())
    }
}

/// The effective configuration as TOML, origins as comments.
fn render(effective: &Effective) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in keys::KEYS.iter() {
        if key.section() != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            section = key.section();
            text.push_str(&format!("{gap}[{section}]\n"));
        }
        let line = match key.show(&effective.settings) {
            Some(value) if key.hides(&effective.settings) => {
                format!("# {} = {value}", key.field())
            }
            Some(value) => format!("{} = {value}", key.field()),
            None => format!("# {} is not set", key.field()),
        };
        let origin = effective.source(key);
        text.push_str(&format!("{line:ORIGIN_COLUMN$} # {origin}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_back() {
        let effective = Effective::default();
        let mut again = Effective::default();
        let text = render(&effective);
        again.apply_text(&text, std::path::Path::new("x")).unwrap();
        assert_eq!(again.settings, effective.settings);
        assert!(
            text.lines()
                .filter(|l| l.contains(" = "))
                .all(|l| l.ends_with("# default"))
        );
    }
}
