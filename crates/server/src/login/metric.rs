//! What operators see of logging in.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

type Label = [(&'static str, &'static str); 1];

/// The metrics of this step. Cloning shares them.
#[derive(Debug, Clone)]
pub struct LoginMetrics {
    logins: Family<Label, Counter>,
    refreshes: Family<Label, Counter>,
    throttled: Family<Label, Counter>,
    hash_seconds: Histogram,
    hash_waiting: Gauge,
    signing_key_created: Gauge,
}

impl Default for LoginMetrics {
    /// Metrics that nobody looks at, for commands.
    fn default() -> Self {
        Self {
            logins: Family::default(),
            refreshes: Family::default(),
            throttled: Family::default(),
            // One hash takes some 25 ms alone, more when cores are shared.
            hash_seconds: Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]),
            hash_waiting: Gauge::default(),
            signing_key_created: Gauge::default(),
        }
    }
}

impl LoginMetrics {
    /// Registers them under `auth_`, in a registry whose prefix is the product's.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let auth = registry.sub_registry_with_prefix("auth");
        auth.register("logins", "Logins, by outcome", metrics.logins.clone());
        auth.register(
            "refreshes",
            "Refreshed sessions, by outcome",
            metrics.refreshes.clone(),
        );
        auth.register(
            "throttled",
            "Logins and registrations refused by a throttle, by rule",
            metrics.throttled.clone(),
        );
        auth.register_with_unit(
            "password_hash_duration",
            "Time to hash a password, without waiting for a core",
            Unit::Seconds,
            metrics.hash_seconds.clone(),
        );
        auth.register(
            "password_hash_waiting",
            "Passwords that wait for a core",
            metrics.hash_waiting.clone(),
        );
        auth.register_with_unit(
            "signing_key_created_timestamp",
            "When the active signing key was made",
            Unit::Seconds,
            metrics.signing_key_created.clone(),
        );
        metrics
    }

    pub(super) fn login(&self, outcome: &'static str) {
        self.logins.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn refresh(&self, outcome: &'static str) {
        self.refreshes.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn throttled(&self, rule: &'static str) {
        self.throttled.get_or_create(&[("rule", rule)]).inc();
    }

    pub(super) fn hashed(&self, took: Duration) {
        self.hash_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn waits(&self) {
        self.hash_waiting.inc();
    }

    pub(super) fn waits_no_more(&self) {
        self.hash_waiting.dec();
    }

    pub(super) fn signing_key(&self, created_ms: i64) {
        self.signing_key_created.set(created_ms / 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        let mut registry = Registry::with_prefix("banter");
        let metrics = LoginMetrics::register(&mut registry);
        metrics.login("succeeded");
        metrics.refresh("rotated");
        metrics.throttled("account");
        metrics.hashed(Duration::from_millis(20));
        metrics.signing_key(5_000);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"banter_auth_logins_total{outcome="succeeded"} 1"#,
            r#"banter_auth_refreshes_total{outcome="rotated"} 1"#,
            r#"banter_auth_throttled_total{rule="account"} 1"#,
            "banter_auth_password_hash_duration_seconds_count 1",
            "banter_auth_password_hash_waiting 0",
            "banter_auth_signing_key_created_timestamp_seconds 5",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
