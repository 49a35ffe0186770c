//! What people do in a load, from the command line.

use anyhow::Result;
use banter_lab::load::profile::{BUILT_IN, Profile, Span};
use banter_lab::load::run;
use banter_lab::load::slo::Slo;
use clap::Args;

use crate::usage::Wrong;

/// Who does what, for how long, and what is demanded.
#[derive(Debug, Args)]
pub(crate) struct People {
    /// What people do: the name of a profile, or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "community")]
    profile: String,
    /// How many people [default: the profile's]
    #[arg(long, value_name = "N")]
    users: Option<u32>,
    /// Before anything is measured [default: the profile's]
    #[arg(long, value_name = "TIME")]
    warm_up: Option<Span>,
    /// Actions a second of all together [default: the profile's]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// What is demanded [default: the profile's]
    #[arg(long, value_name = "DEMAND,…")]
    slo: Option<Slo>,
    /// Generators, each a process [default: as many as it takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    generators: Option<u32>,
    /// Chance is had again with the same number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// How long, where it is not as the profile says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Length {
    /// How long is measured.
    pub(crate) duration: Option<Span>,
    /// Before that, unless something else was asked for.
    pub(crate) warm_up: Option<Span>,
}

/// How long each run is measured.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Duration {
    /// How long is measured, such as 30s or 10m [default: the profile's]
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
}

impl From<Duration> for Length {
    fn from(given: Duration) -> Self {
        Self {
            duration: given.duration,
            warm_up: None,
        }
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate: f64 = text.parse().map_err(|_| "not a number")?;
    if rate.is_finite() && rate >= 0.0 {
        return Ok(rate);
    }
    Err("a rate is not negative")
}

impl People {
    /// What is to be put on a server for so long.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub(crate) fn load(&self, length: Length) -> Result<run::Load, Wrong> {
        let (name, text) = profile(&self.profile)?;
        let wrong = |error: &dyn std::fmt::Display| Wrong(format!("--profile {name}: {error}"));
        let mut profile = Profile::parse(&text).map_err(|error| wrong(&error))?;
        profile.users = self.users.unwrap_or(profile.users);
        if let Some(Span(duration)) = length.duration {
            profile.duration = duration;
        }
        if let Some(Span(warm_up)) = self.warm_up.or(length.warm_up) {
            profile.warm_up = warm_up;
        }
        profile.check().map_err(|error| Wrong(error.to_string()))?;
        let slo = match &self.slo {
            Some(slo) => slo.clone(),
            None => profile.slo.parse().map_err(|error| wrong(&error))?,
        };
        Ok(run::Load {
            users: profile.users,
            profile,
            name,
            rate: self.rate,
            slo,
            generators: self.generators,
            seed: self.seed,
            faults: Vec::new(),
            open_ended: false,
            patience: None,
        })
    }

    /// The same with another profile, whose people and demands are its own.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub(crate) fn other(&self, profile: &str, length: Length) -> Result<run::Load, Wrong> {
        let other = Self {
            profile: profile.to_owned(),
            users: None,
            warm_up: self.warm_up,
            rate: None,
            slo: None,
            generators: self.generators,
            seed: self.seed,
        };
        other.load(length)
    }
}

/// A profile's name and text.
fn profile(given: &str) -> Result<(String, String), Wrong> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == given) {
        return Ok(((*name).to_owned(), (*text).to_owned()));
    }
    let text = std::fs::read_to_string(given).map_err(|error| {
        let names = BUILT_IN.map(|(name, _)| name).join(", ");
        Wrong(format!(
            "--profile {given}: neither a profile ({names}) nor a file ({error})"
        ))
    })?;
    Ok((given.to_owned(), text))
}
