//! Addresses of the servers of a cluster, and the passwords in them.

use std::fmt;

use zeroize::Zeroizing;

/// What stands where a password was.
const MASK: &str = "***";
/// Options of an address that hold nothing secret.
const OPEN_OPTIONS: [&str; 3] = ["sslmode", "sslrootcert", "host"];

/// The URL of a database or a queue. Shown without the passwords in it; memory is wiped after use.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(Zeroizing<String>);

impl ServiceUrl {
    /// Reads a URL of one of these schemes.
    ///
    /// # Errors
    /// What is wrong, as the rest of a sentence that shows nothing of it.
    pub(super) fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        let form = || {
            let forms: Vec<_> = schemes.iter().map(|s| format!("{s}://HOST")).collect();
            format!("must be {}", forms.join(" or "))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        if !schemes.contains(&scheme) || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(form());
        }
        let (authority, tail) = split_authority(rest);
        if tail.contains('@') {
            return Err("must write /, ?, # and @ in a password as %2F, %3F, %23 and %40".into());
        }
        if place(authority).is_empty() && !tail.contains("host=") {
            return Err(form());
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The whole of it, for who connects.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Host and port, as far as they are given: what an operator recognises it by.
    #[must_use]
    pub fn place(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        match place(split_authority(rest).0) {
            "" => "its socket",
            place => place,
        }
    }

    /// Whether a part of it must not be shown.
    #[must_use]
    pub fn hides_something(&self) -> bool {
        self.to_string() != **self.0
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let (authority, tail) = split_authority(rest);
        write!(f, "{scheme}://")?;
        if let Some((user, _)) = authority.rsplit_once('@') {
            match user.split_once(':') {
                Some((user, _)) => write!(f, "{user}:{MASK}@")?,
                None => write!(f, "{user}@")?,
            }
        }
        f.write_str(place(authority))?;
        let (path, options) = match tail.split_once('?') {
            Some((path, options)) => (path, Some(options)),
            None => (tail, None),
        };
        f.write_str(path)?;
        let Some(options) = options else {
            return Ok(());
        };
        for (index, option) in options.split('&').enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match option.split_once('=') {
                Some((name, _)) if !OPEN_OPTIONS.contains(&name) => write!(f, "{name}={MASK}")?,
                _ => f.write_str(option)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceUrl({self})")
    }
}

/// What stands before the path, and the rest.
fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// Host and port of an authority.
fn place(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServiceUrl, String> {
        ServiceUrl::parse(text, &["postgres", "postgresql"])
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, shown, place) in [
            ("postgres://db", "postgres://db", "db"),
            ("postgres://ann@db:5/x", "postgres://ann@db:5/x", "db:5"),
            (
                "postgres://ann:se@cr:et@db/x",
                "postgres://ann:***@db/x",
                "db",
            ),
            (
                "postgresql://db/x?sslmode=require&password=secret&user=ann",
                "postgresql://db/x?sslmode=require&password=***&user=***",
                "db",
            ),
            (
                "postgres:///x?host=/run/db",
                "postgres:///x?host=/run/db",
                "its socket",
            ),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("ServiceUrl({shown})"));
            assert_eq!((url.reveal(), url.place()), (text, place));
            assert_eq!(url.hides_something(), text != shown);
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_showing_it() {
        for text in [
            "secret",
            "mysql://secret",
            "postgres://",
            "postgres://ann:secret@",
            "postgres://ann:sec/ret@db",
            "postgres://ann:secret@db\n",
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.starts_with("must "), "{refused}");
            assert!(!refused.contains("sec"), "{refused}");
        }
    }
}
