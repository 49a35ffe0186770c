//! What a process tells of itself at one moment: its metrics.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use crate::http::Http;

/// The metrics of a process.
#[derive(Debug, Clone)]
pub struct Scrape(String);

impl Scrape {
    /// Asks a process by its admin address.
    ///
    /// # Errors
    /// It does not answer.
    pub fn of(admin: SocketAddr) -> Result<Self> {
        let answer = Http::connect(admin)?.ask("GET", "/metrics", "", "");
        let answer = answer.context("read metrics")?;
        Ok(Self(String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// The sum of a metric's series; 0 where there are none.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        let lines = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        lines.fold(0.0, |sum, value| sum + value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_metric_are_added_and_no_others() {
        let text = "# TYPE a gauge\na{state=\"x y\"} 3\na{state=\"z\"} 4\na_total 100\nb 1\n";
        let scrape = Scrape(text.to_owned());
        let sums = ["a", "a_total", "b", "c"].map(|name| scrape.sum(name).to_string());
        assert_eq!(sums, ["7", "100", "1", "0"]);
    }
}
