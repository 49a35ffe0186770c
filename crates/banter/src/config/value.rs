//! How each kind of setting is read from text and from TOML, and written as TOML.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use banter_server::settings::{
    CollectorUrl, DatabaseUrl, Durability, Hear, LogFormat, LogUrl, Network, Origin, Registration,
    Secret,
};
use toml::Value;

use super::duration;

/// A kind of setting.
pub(crate) trait Setting: Sized {
    /// Reads what a flag, a variable or a value's own file holds.
    ///
    /// # Errors
    /// What is allowed instead, as the rest of a sentence about the setting.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads what the configuration file holds.
    ///
    /// # Errors
    /// What is allowed instead, as the rest of a sentence about the setting.
    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::from_text(text),
            _ => Err("must be text in quotes".to_owned()),
        }
    }

    /// The value for the configuration file; `None`: there is none, leave it out.
    fn to_toml(&self) -> Option<Value>;

    /// Whether [`Setting::to_toml`] leaves out what must not be shown.
    fn hides(&self) -> bool {
        false
    }
}

/// Settings that are one text, with their form for messages where parsing does not tell it.
macro_rules! textual {
    ($($kind:ty $(: $form:literal)? $(, hides $hides:expr)?;)*) => { $(
        impl Setting for $kind {
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse::<Self>()$(.map_err(|_| $form.to_owned()))?
            }

            fn to_toml(&self) -> Option<Value> {
                Some(Value::String(self.to_string()))
            }

            $(fn hides(&self) -> bool {
                $hides(self)
            })?
        }
    )* };
}

textual! {
    SocketAddr: "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080";
    Origin;
    CollectorUrl;
    Network;
    Registration;
    LogFormat;
    Hear;
    DatabaseUrl, hides |url: &Self| matches!(url, Self::Postgres(url) if url.hides_something());
    LogUrl, hides |url: &Self| url.0.hides_something();
}

impl Setting for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::String(self.clone()))
    }
}

impl Setting for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("must be a path".to_owned());
        }
        Ok(Self::from(text))
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::String(self.display().to_string()))
    }
}

impl Setting for Secret {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::String("(set, not shown)".to_owned()))
    }

    fn hides(&self) -> bool {
        true
    }
}

impl Setting for Durability {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|()| "must be always, everysec or none".to_owned())
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::String(self.as_str().to_owned()))
    }
}

impl Setting for Duration {
    fn from_text(text: &str) -> Result<Self, String> {
        duration::parse(text)
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::from_text(text),
            _ => Err(duration::FORM.to_owned()),
        }
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::String(duration::format(*self)))
    }
}

/// Whole numbers.
macro_rules! numeric {
    ($($kind:ty),*) => { $(
        impl Setting for $kind {
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| "must be a whole number".to_owned())
            }

            fn from_toml(value: &Value) -> Result<Self, String> {
                value
                    .as_integer()
                    .and_then(|number| Self::try_from(number).ok())
                    .ok_or_else(|| "must be a whole number".to_owned())
            }

            fn to_toml(&self) -> Option<Value> {
                i64::try_from(*self).ok().map(Value::Integer)
            }
        }
    )* };
}

numeric!(u32, usize);

impl<T: Setting> Setting for Option<T> {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        T::from_text(text).map(Some)
    }

    fn to_toml(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_toml)
    }

    fn hides(&self) -> bool {
        self.as_ref().is_some_and(T::hides)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn from_text(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        items.map(|item| named(item, T::from_text(item))).collect()
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        let Value::Array(items) = value else {
            return Err("must be a list, such as [\"one\", \"two\"]".to_owned());
        };
        let read = |item: &Value| named(&item.to_string(), T::from_toml(item));
        items.iter().map(read).collect()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::Array(self.iter().filter_map(T::to_toml).collect()))
    }
}

/// Says which item of a list is wrong.
fn named<T>(item: &str, read: Result<T, String>) -> Result<T, String> {
    read.map_err(|problem| format!("has the item {item}, which {problem}"))
}
