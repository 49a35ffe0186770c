//! Where traces are sent.

use std::fmt;
use std::str::FromStr;

/// The base address of an OTLP collector that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(String);

impl CollectorUrl {
    /// Where it takes traces.
    #[must_use]
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }

    /// Whether it is reached through TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for CollectorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        // What names a user may hold a password, which would be shown.
        let plain = |c: char| c.is_ascii_graphic() && !"@?#".contains(c);
        match rest {
            Some(rest) if rest.starts_with(plain) && rest.chars().all(plain) => {
                Ok(Self(text.trim_end_matches('/').to_owned()))
            }
            _ => Err("must be an address such as http://127.0.0.1:4318".to_owned()),
        }
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added() {
        for (text, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otlp.example/", "https://otlp.example/v1/traces"),
            ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            let url: CollectorUrl = text.parse().unwrap();
            assert_eq!(url.traces(), traces);
            assert_eq!(url.is_https(), text.starts_with("https"));
        }
        for text in [
            "",
            "127.0.0.1:4318",
            "grpc://a",
            "http://",
            "http://a b",
            "http://u:p@a",
        ] {
            assert!(text.parse::<CollectorUrl>().is_err(), "{text}");
        }
    }
}
