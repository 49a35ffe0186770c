//! Flags over environment over file over defaults, and where each value came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use banter_server::Settings;
use banter_server::settings::DatabaseUrl;
use toml::{Table, Value};

use super::keys::{self, KEYS, Key};
use crate::usage::Wrong;

/// Variables with this beginning and a double underscore are settings.
const VARIABLE_PREFIX: &str = "BANTER_";
/// The short name of `BANTER_TELEMETRY__LOG_LEVEL`, as other programs have one.
const LOG_VARIABLE: &str = "BANTER_LOG";
/// Longest file of a secret: a key, not a film.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Source {
    /// Built in.
    #[default]
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Settings, and where each came from.
#[derive(Debug, Default)]
pub(crate) struct Effective {
    /// The values that hold.
    pub(crate) settings: Settings,
    sources: BTreeMap<&'static str, Source>,
}

/// A flag that was given: the setting, the flag's name, its text.
pub(crate) type Flag = (&'static str, &'static str, String);

impl Effective {
    /// Where the value of this setting came from.
    pub(crate) fn source(&self, key: &Key) -> Source {
        self.sources.get(key.name).cloned().unwrap_or_default()
    }

    /// Reads the whole configuration.
    ///
    /// # Errors
    /// The first thing that is wrong: where it stands, its name, and what is allowed.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[Flag],
    ) -> Result<Self> {
        let mut effective = Self::default();
        if let Some(file) = file {
            effective.apply_file(file)?;
        }
        effective.apply_environment(environment)?;
        effective.apply_flags(flags)?;
        effective.check()?;
        Ok(effective)
    }

    /// Applies a configuration file.
    fn apply_file(&mut self, path: &Path) -> Result<()> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {shown}"))?;
        self.apply_text(&text, path)
            .with_context(|| format!("configuration file {shown}"))
    }

    /// Applies the text of the configuration file `path`.
    pub(crate) fn apply_text(&mut self, text: &str, path: &Path) -> Result<()> {
        let table: Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| {
                text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
            });
            anyhow!("line {}: {}", line + 1, plain(error.message()))
        })?;
        for (section, value) in &table {
            let Value::Table(fields) = value else {
                bail!(unknown(section));
            };
            for (field, value) in fields {
                let name = format!("{section}.{field}");
                let (key, named_file) = resolve(&name)?;
                if key.secret && !named_file && fields.contains_key(&format!("{field}_file")) {
                    bail!("{name} and {name}_file are both set; keep one of them");
                }
                self.apply_toml(key, named_file, value)
                    .with_context(|| name.clone())?;
                self.sources.insert(key.name, Source::File(path.to_owned()));
            }
        }
        Ok(())
    }

    fn apply_toml(&mut self, key: &Key, named_file: bool, value: &Value) -> Result<()> {
        let set = if named_file {
            let path = value
                .as_str()
                .context("must be the path of a file, in quotes")?;
            key.set_text(&mut self.settings, &read_secret(path)?)
        } else {
            key.set_toml(&mut self.settings, value)
        };
        set.map_err(|problem| ill(key, &problem, &value.to_string()))
    }

    /// Applies the variables that are settings; others are not ours.
    fn apply_environment(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<()> {
        let mut given = BTreeMap::new();
        for (variable, value) in environment {
            let Some(variable) = variable.to_str() else {
                continue;
            };
            let Some(name) = setting_of(variable) else {
                continue;
            };
            let value = value
                .into_string()
                .map_err(|_| anyhow!("{variable}: must be UTF-8"))?;
            let entry = (variable.to_owned(), value);
            if variable == LOG_VARIABLE {
                given.entry(name).or_insert(entry);
            } else {
                given.insert(name, entry);
            }
        }
        for (name, (variable, value)) in &given {
            let (key, named_file) = resolve(name).context(variable.clone())?;
            if key.secret && !named_file && given.contains_key(&format!("{name}_file")) {
                bail!("{variable} and {variable}_FILE are both set; keep one of them");
            }
            let text = match named_file {
                true => read_secret(value).context(variable.clone())?,
                false => value.clone(),
            };
            key.set_text(&mut self.settings, &text)
                .map_err(|problem| ill(key, &problem, value).context(variable.clone()))?;
            self.sources
                .insert(key.name, Source::Environment(variable.clone()));
        }
        Ok(())
    }

    fn apply_flags(&mut self, flags: &[Flag]) -> Result<()> {
        for (name, flag, text) in flags {
            let key = keys::find(name).with_context(|| unknown(name))?;
            key.set_text(&mut self.settings, text)
                .map_err(|problem| Wrong(format!("{flag}: {}", ill(key, &problem, text))))?;
            self.sources.insert(key.name, Source::Flag(flag));
        }
        Ok(())
    }

    /// Rules between settings.
    fn check(&self) -> Result<()> {
        let settings = &self.settings;
        let server = &settings.server;
        if server.listen == server.admin_listen && server.listen.port() != 0 {
            bail!(
                "server.listen and server.admin_listen are both {}; give them different ports",
                server.listen
            );
        }
        if settings.auth.session_ttl < settings.auth.access_token_ttl {
            bail!("auth.session_ttl is shorter than auth.access_token_ttl; make it longer");
        }
        match (&settings.database.url, &settings.log.url) {
            (DatabaseUrl::Postgres(_), None) => bail!(
                "database.url is PostgreSQL, which needs a queue; set log.url (redis://…) too"
            ),
            (DatabaseUrl::Sqlite(_), Some(_)) => bail!(
                "log.url is set, but SQLite needs no queue; \
                 set database.url (postgres://…) too, or remove log.url"
            ),
            _ => Ok(()),
        }
    }
}

/// The name of the setting that a variable stands for.
fn setting_of(variable: &str) -> Option<String> {
    if variable == LOG_VARIABLE {
        return Some("telemetry.log_level".to_owned());
    }
    let (section, field) = variable.strip_prefix(VARIABLE_PREFIX)?.split_once("__")?;
    Some(format!("{section}.{field}").to_lowercase())
}

/// The setting of this name, and whether the name is that of its file.
fn resolve(name: &str) -> Result<(&'static Key, bool)> {
    if let Some(key) = keys::find(name) {
        return Ok((key, false));
    }
    name.strip_suffix("_file")
        .and_then(keys::find)
        .filter(|key| key.secret)
        .map(|key| (key, true))
        .ok_or_else(|| anyhow!(unknown(name)))
}

/// Says that there is no such setting, and what there is.
fn unknown(name: &str) -> String {
    let name = &plain(name);
    let (section, _) = name.split_once('.').unwrap_or((name, ""));
    let fields: Vec<_> = KEYS.iter().filter(|key| key.section() == section).collect();
    if fields.is_empty() {
        let mut sections: Vec<_> = KEYS.iter().map(Key::section).collect();
        sections.dedup();
        return format!(
            "there is no section {section}; the sections are {}",
            sections.join(", ")
        );
    }
    let fields: Vec<_> = fields.iter().map(|key| key.field()).collect();
    format!(
        "there is no setting {name}; section {section} has {}",
        fields.join(", ")
    )
}

/// Says what is wrong with a value, without showing a secret.
fn ill(key: &Key, problem: &str, value: &str) -> anyhow::Error {
    if key.secret {
        return anyhow!("{problem}");
    }
    anyhow!("{problem} (it is {})", plain(value))
}

/// What others wrote, on one line and harmless to a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Reads a secret's own file; the line's end that editors add is not part of it.
fn read_secret(path: &str) -> Result<String> {
    use std::io::Read as _;

    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text))
        .with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests;
