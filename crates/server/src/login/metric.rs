//! What operators see of logging in.

use std::time::Duration;

use banter_protocol::time::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metric::{Histogram, List, Name};

type Label = [(&'static str, &'static str); 1];

/// The metrics of this step. Cloning shares them.
#[derive(Debug, Clone)]
pub struct LoginMetrics {
    logins: Family<Label, Counter>,
    refreshes: Family<Label, Counter>,
    throttled: Family<Label, Counter>,
    hash_duration: Histogram,
    hash_waiting: Gauge,
    signing_key_created: Gauge,
    keys_current: Gauge,
    revocation_lag: Histogram,
}

impl Default for LoginMetrics {
    /// Metrics that nobody looks at, for commands.
    fn default() -> Self {
        Self::register(&mut List::new(&mut Registry::default()))
    }
}

/// How logins end.
const LOGINS: [&str; 5] = [
    "succeeded",
    "failed",
    "throttled",
    "overloaded",
    "unavailable",
];
/// How refreshes end.
const REFRESHES: [&str; 6] = [
    "rotated",
    "grace",
    "reuse_detected",
    "expired",
    "invalid",
    "unavailable",
];

impl LoginMetrics {
    /// Adds them to what is scraped.
    #[must_use]
    pub(crate) fn register(list: &mut List<'_>) -> Self {
        let labels = |key, values: &'static [&'static str]| values.iter().map(move |v| [(key, *v)]);
        Self {
            logins: list.counters(Name::AuthLogins, labels("outcome", &LOGINS)),
            refreshes: list.counters(Name::AuthRefreshes, labels("outcome", &REFRESHES)),
            throttled: list.counters(Name::AuthThrottled, labels("rule", &["account", "address"])),
            hash_duration: list.histogram(Name::AuthPasswordHashDuration),
            hash_waiting: list.gauge(Name::AuthPasswordHashWaiting),
            signing_key_created: list.gauge(Name::AuthSigningKeyCreated),
            keys_current: list.gauge(Name::GatewayJwksRefreshed),
            revocation_lag: list.histogram(Name::GatewayRevocationLag),
        }
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
        self.hash_duration.observe_duration(took);
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

    /// The keys in use are those that are published, as of now.
    pub(super) fn keys_are_current(&self, now: Timestamp) {
        self.keys_current.set(now.as_ms() / 1000);
    }

    /// Something that was revoked at `at` is of no use here from `now` on.
    pub(super) fn revoked(&self, at: Timestamp, now: Timestamp) {
        // Clocks of two machines may differ.
        let lag_ms = u64::try_from(now.as_ms().saturating_sub(at.as_ms())).unwrap_or(0);
        self.revocation_lag
            .observe_duration(Duration::from_millis(lag_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        let mut registry = Registry::with_prefix("banter");
        let metrics = LoginMetrics::register(&mut List::new(&mut registry));
        metrics.login("succeeded");
        metrics.refresh("rotated");
        metrics.throttled("account");
        metrics.hashed(Duration::from_millis(20));
        metrics.signing_key(5_000);
        metrics.revoked(Timestamp::from_ms(7_000), Timestamp::from_ms(7_500));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"banter_auth_logins_total{outcome="succeeded"} 1"#,
            r#"banter_auth_refreshes_total{outcome="rotated"} 1"#,
            r#"banter_auth_throttled_total{rule="account"} 1"#,
            "banter_auth_password_hash_duration_seconds_count 1",
            "banter_auth_password_hash_waiting 0",
            "banter_auth_signing_key_created_timestamp_seconds 5",
            "banter_gateway_revocation_lag_seconds_sum 0.5",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
