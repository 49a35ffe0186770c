//! The table of all settings: name, field, what is allowed. Everything that must know them all
//! (file, environment, `banter config`, the test of the default file) reads this table.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

use banter_protocol::limit;
use banter_server::Settings;
use toml::Value;

use super::duration;
use super::value::Setting;

/// One setting.
pub(crate) struct Key {
    /// Section and name, such as `server.listen`.
    pub(crate) name: &'static str,
    /// Holds what must not be shown; may be kept in a file of its own, named by `NAME_file`.
    pub(crate) secret: bool,
    access: Box<dyn Access>,
}

impl Key {
    /// The section.
    pub(crate) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    pub(crate) fn field(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, field)| field)
    }

    /// Sets it from a flag, a variable or a file of its own.
    ///
    /// # Errors
    /// What is allowed instead, as the rest of a sentence.
    pub(crate) fn set_text(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        self.access.set_text(settings, text)
    }

    /// Sets it from the configuration file.
    ///
    /// # Errors
    /// What is allowed instead, as the rest of a sentence.
    pub(crate) fn set_toml(&self, settings: &mut Settings, value: &Value) -> Result<(), String> {
        self.access.set_toml(settings, value)
    }

    /// The value, a secret's redacted; `None` where there is none.
    pub(crate) fn show(&self, settings: &Settings) -> Option<Value> {
        self.access.show(settings)
    }

    /// Whether [`Key::show`] leaves out a part of this value.
    pub(crate) fn hides(&self, settings: &Settings) -> bool {
        self.access.hides(settings)
    }
}

trait Access: Send + Sync {
    fn set_text(&self, settings: &mut Settings, text: &str) -> Result<(), String>;
    fn set_toml(&self, settings: &mut Settings, value: &Value) -> Result<(), String>;
    fn show(&self, settings: &Settings) -> Option<Value>;
    fn hides(&self, settings: &Settings) -> bool;
}

type Check<T> = Box<dyn Fn(&T) -> Result<(), String> + Send + Sync>;

struct Field<T> {
    place: fn(&mut Settings) -> &mut T,
    check: Check<T>,
}

impl<T> Field<T> {
    fn put(&self, settings: &mut Settings, value: T) -> Result<(), String> {
        (self.check)(&value)?;
        *(self.place)(settings) = value;
        Ok(())
    }
}

impl<T: Setting> Access for Field<T> {
    fn set_text(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        self.put(settings, T::from_text(text)?)
    }

    fn set_toml(&self, settings: &mut Settings, value: &Value) -> Result<(), String> {
        self.put(settings, T::from_toml(value)?)
    }

    fn show(&self, settings: &Settings) -> Option<Value> {
        (self.place)(&mut settings.clone()).to_toml()
    }

    fn hides(&self, settings: &Settings) -> bool {
        (self.place)(&mut settings.clone()).hides()
    }
}

fn any<T: Setting + 'static>(name: &'static str, place: fn(&mut Settings) -> &mut T) -> Key {
    checked(name, place, |_| Ok(()))
}

fn checked<T: Setting + 'static>(
    name: &'static str,
    place: fn(&mut Settings) -> &mut T,
    check: impl Fn(&T) -> Result<(), String> + Send + Sync + 'static,
) -> Key {
    let check = Box::new(check);
    Key {
        name,
        secret: false,
        access: Box::new(Field { place, check }),
    }
}

fn secret<T: Setting + 'static>(name: &'static str, place: fn(&mut Settings) -> &mut T) -> Key {
    Key {
        secret: true,
        ..any(name, place)
    }
}

fn number<T: Setting + PartialOrd + Display + Send + Sync + 'static>(
    name: &'static str,
    place: fn(&mut Settings) -> &mut T,
    range: RangeInclusive<T>,
) -> Key {
    checked(name, place, move |value| {
        if range.contains(value) {
            return Ok(());
        }
        let (least, most) = (range.start(), range.end());
        Err(format!("must be a whole number from {least} to {most}"))
    })
}

fn duration(
    name: &'static str,
    place: fn(&mut Settings) -> &mut Duration,
    range: RangeInclusive<Duration>,
) -> Key {
    checked(name, place, move |value| {
        if range.contains(value) {
            return Ok(());
        }
        let (least, most) = (
            duration::format(*range.start()),
            duration::format(*range.end()),
        );
        Err(format!("must be a duration from {least} to {most}"))
    })
}

/// Levels, and targets with levels: `info`, or `warn,banter_server=debug`. Anything else would be
/// taken for the name of a target, and silence the log.
fn log_level(text: &str) -> Result<(), String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let sound = text.split(',').all(|part| {
        let (target, level) = part.split_once('=').unwrap_or(("banter", part));
        !target.is_empty() && levels.contains(&level)
    });
    if sound {
        return Ok(());
    }
    Err(
        "must be error, warn, info, debug, trace or off, or a list such as \
         \"info,banter_server=debug\""
            .to_owned(),
    )
}

/// All settings, in the order in which they are documented.
pub(crate) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let day = Duration::from_secs(24 * 3600);
    let rate = 1..=1_000_000_u32;
    vec![
        any("server.listen", |s| &mut s.server.listen),
        any("server.admin_listen", |s| &mut s.server.admin_listen),
        any("server.data_dir", |s| &mut s.server.data_dir),
        any("server.public_url", |s| &mut s.server.public_url),
        any("server.allowed_origins", |s| &mut s.server.allowed_origins),
        any("server.trusted_proxies", |s| &mut s.server.trusted_proxies),
        any("auth.registration", |s| &mut s.auth.registration),
        duration(
            "auth.access_token_ttl",
            |s| &mut s.auth.access_token_ttl,
            Duration::from_secs(1)..=day,
        ),
        duration(
            "auth.session_idle_ttl",
            |s| &mut s.auth.session_idle_ttl,
            Duration::from_secs(1)..=400 * day,
        ),
        duration(
            "auth.session_ttl",
            |s| &mut s.auth.session_ttl,
            Duration::from_secs(1)..=400 * day,
        ),
        secret("auth.secret", |s| &mut s.auth.secret),
        secret("database.url", |s| &mut s.database.url),
        secret("log.url", |s| &mut s.log.url),
        any("log.durability", |s| &mut s.log.durability),
        duration(
            "log.deadline",
            |s| &mut s.log.deadline,
            // At most what a client waits for its `welcome`.
            Duration::from_millis(50)..=limit::HELLO_TIMEOUT,
        ),
        number("log.batch_rows", |s| &mut s.log.batch_rows, 1..=2_000),
        any("log.hear", |s| &mut s.log.hear),
        number(
            "limits.channel_entries_per_second",
            |s| &mut s.limits.channel_entries_per_second,
            rate.clone(),
        ),
        number(
            "limits.socket_frames_per_second",
            |s| &mut s.limits.socket_frames_per_second,
            rate.clone(),
        ),
        number(
            "limits.outbound_bytes",
            |s| &mut s.limits.outbound_bytes,
            limit::OUTBOUND_BYTES_MIN..=1 << 30,
        ),
        number(
            "limits.address_logins_per_minute",
            |s| &mut s.limits.address_logins_per_minute,
            rate.clone(),
        ),
        number(
            "limits.address_upgrades_per_second",
            |s| &mut s.limits.address_upgrades_per_second,
            rate.clone(),
        ),
        number(
            "limits.address_sockets",
            |s| &mut s.limits.address_sockets,
            rate.clone(),
        ),
        number(
            "limits.webhook_messages_per_second",
            |s| &mut s.limits.webhook_messages_per_second,
            rate,
        ),
        checked(
            "telemetry.log_level",
            |s| &mut s.telemetry.log_level,
            |level| log_level(level),
        ),
        any("telemetry.log_format", |s| &mut s.telemetry.log_format),
        any("telemetry.otlp_endpoint", |s| {
            &mut s.telemetry.otlp_endpoint
        }),
        number(
            "telemetry.trace_one_in",
            |s| &mut s.telemetry.trace_one_in,
            1..=1_000_000_000,
        ),
    ]
});

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
