//! Profiles: what the people of a load do, as commented TOML.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The profiles in the binary, by name.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("community", include_str!("../../profiles/community.toml")),
    ("room", include_str!("../../profiles/room.toml")),
    ("rooms", include_str!("../../profiles/rooms.toml")),
    ("storm", include_str!("../../profiles/storm.toml")),
    ("login", include_str!("../../profiles/login.toml")),
    ("idle", include_str!("../../profiles/idle.toml")),
];

/// Most users of a load: descriptors and ports of one machine end sooner.
const USERS_MAX: u32 = 200_000;
/// A body has the time at which it was due in it, and a number.
const BODY_BYTES_MIN: usize = 40;

/// A profile that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A message is sent.
    Send,
    /// The newest page of a channel is read.
    Open,
    /// An older page is read.
    Scroll,
    /// The page around an entry is read.
    Around,
    /// The list of one's channels is read.
    Channels,
    /// The socket is cut, and comes back.
    Reconnect,
    /// Somebody logs in with a password.
    Login,
}

/// How actions follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// Each on its own, as people do (a Poisson process).
    Random,
}

/// Who is in which channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Whether there is a channel of all.
    pub everybody: bool,
    /// How many of 100 messages go there.
    pub everybody_share: f64,
    /// Further channels of a user, on average.
    pub memberships: u32,
    /// Members of a channel, and what share of the memberships is in channels of that size.
    pub sizes: Vec<(u32, f64)>,
}

/// How much is done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Actions a second, however many users there are.
    pub per_second: f64,
    /// Actions a second of each user.
    pub per_user: f64,
}

/// Sockets that are all cut at once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// From one time to the next.
    #[serde(with = "span")]
    pub every: Duration,
    /// Within which they come back.
    #[serde(with = "span")]
    pub spread: Duration,
}

/// What the people of a load do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// One line.
    pub about: String,
    /// People at 1x.
    pub users: u32,
    /// How long is measured.
    #[serde(with = "span")]
    pub duration: Duration,
    /// Before that.
    #[serde(with = "span")]
    pub warm_up: Duration,
    /// Length of a message.
    pub body_bytes: usize,
    /// What is demanded unless something else is.
    pub slo: String,
    /// How actions follow each other.
    pub arrivals: Arrivals,
    /// Who is in which channel.
    pub channels: Channels,
    /// How much is done.
    pub rate: Rate,
    /// What, by weight.
    pub actions: BTreeMap<Action, f64>,
    /// Sockets that are all cut at once.
    #[serde(default)]
    pub storm: Option<Storm>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// It is no TOML of this shape, or asks for what cannot be.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let profile: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or(text);
                before.matches('\n').count() + 1
            });
            let line = line.map_or_else(String::new, |line| format!("line {line}: "));
            Unusable(format!("{line}{}", error.message()))
        })?;
        profile.check()?;
        Ok(profile)
    }

    /// One of those in the binary.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn built_in(name: &str) -> Result<Self, Unusable> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text),
            None => {
                let names = BUILT_IN.map(|(name, _)| name).join(", ");
                Err(Unusable(format!("there is no profile {name}: {names}")))
            }
        }
    }

    /// Whether it can be had.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Unusable> {
        let no = |text: &str| Err(Unusable(text.to_owned()));
        if !(1..=USERS_MAX).contains(&self.users) {
            return Err(Unusable(format!("users: 1 to {USERS_MAX}")));
        }
        if self.duration.is_zero() {
            return no("duration: more than nothing");
        }
        if !(BODY_BYTES_MIN..=16_384).contains(&self.body_bytes) {
            return Err(Unusable(format!("body_bytes: {BODY_BYTES_MIN} to 16384")));
        }
        let rates = [self.rate.per_second, self.rate.per_user];
        let mut numbers = rates.iter().chain(self.actions.values());
        if numbers.any(|number| !number.is_finite() || *number < 0.0) {
            return no("rate, actions: numbers that are not negative");
        }
        let shares: f64 = self.channels.sizes.iter().map(|(_, share)| share).sum();
        if self.channels.memberships > 0 && (shares - 100.0).abs() > 0.01 {
            return no("channels.sizes: the shares must be 100 together");
        }
        if self.channels.sizes.iter().any(|(size, _)| *size == 0) {
            return no("channels.sizes: at least one member");
        }
        let acts = rates.iter().sum::<f64>() > 0.0;
        if acts && self.actions.values().sum::<f64>() <= 0.0 {
            return no("actions: something with a weight");
        }
        let sends = self.weight(Action::Send) > 0.0;
        let nowhere = !self.channels.everybody && self.channels.memberships == 0;
        if sends && nowhere {
            return no("channels: who sends is in a channel");
        }
        if self.storm.is_some_and(|storm| storm.every.is_zero()) {
            return no("storm.every: more than nothing");
        }
        Ok(())
    }

    /// An action's weight.
    #[must_use]
    pub fn weight(&self, action: Action) -> f64 {
        self.actions.get(&action).copied().unwrap_or(0.0)
    }

    /// Actions a second of so many users.
    #[must_use]
    pub fn rate_of(&self, users: u32) -> f64 {
        self.rate.per_second + self.rate.per_user * f64::from(users)
    }
}

/// A length of time as people write it: `500ms`, `30s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        let wrong = || Unusable(format!("{text}: a time is written 500ms, 30s, 5m or 1h"));
        let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let ms = number.checked_mul(ms).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

/// Lengths of time in TOML.
mod span {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::Span;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Span(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        text.parse::<Span>()
            .map(|span| span.0)
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_in_the_binary_is_good() {
        for (name, _) in BUILT_IN {
            Profile::built_in(name).unwrap();
        }
    }

    #[test]
    fn a_wrong_profile_names_its_line_or_field() {
        let (_, text) = BUILT_IN[1];
        let refused = |from: &str, to: &str| {
            let text = text.replace(from, to);
            Profile::parse(&text).unwrap_err().to_string()
        };
        assert_eq!(refused("users = 100", "users = 0"), "users: 1 to 200000");
        assert!(refused("even", "odd").starts_with("line 10: "));
        assert!(refused("send = 1.0", "shout = 1.0").contains("shout"));
        assert!(refused("30s", "30").contains("30s, 5m"));
        assert!(refused("everybody = true", "everybody = false").contains("channels"));
        assert!(
            Profile::built_in("rome")
                .unwrap_err()
                .to_string()
                .contains("rooms")
        );
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in ["500ms", "30s", "5m", "1h", "90s", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for wrong in ["", "5", "s", "5d", "-1s", "1.5s"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
