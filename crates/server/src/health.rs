//! Whether what this process needs answers: looked at every few seconds, and when somebody asks.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::metric::Dependency;
use crate::pulse;

/// How often everything is looked at when nobody asks: a scrape or two.
const INTERVAL: Duration = Duration::from_secs(5);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// How something fares that this process needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// What it is.
    pub dependency: Dependency,
    /// Whether it answers.
    pub up: bool,
    /// Whether the process can do nothing useful without it.
    pub vital: bool,
    /// How long the answer took, where it was asked now.
    pub took: Option<Duration>,
}

/// Begins to look, until `stop`.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(app: &App, stop: &CancellationToken) -> std::io::Result<()> {
    pulse::start(app.metrics.clone(), stop.clone())?;
    let (app, stop) = (app.clone(), stop.clone());
    tokio::spawn(async move {
        stop.run_until_cancelled(watch(app)).await;
    });
    Ok(())
}

async fn watch(app: App) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_up = true;
    loop {
        ticks.tick().await;
        let up = suffices(&check(&app).await);
        match (was_up, up) {
            (true, false) => tracing::warn!("the database does not answer"),
            (false, true) => tracing::info!("the database answers again"),
            _ => {}
        }
        was_up = up;
    }
}

/// Looks at everything now.
pub async fn check(app: &App) -> Vec<Condition> {
    let begun = Instant::now();
    let up = timeout(PATIENCE, app.entries.is_reachable()).await == Ok(true);
    let took = begun.elapsed();
    app.metrics.asked(Dependency::Database, "ping", up, took);
    app.metrics.is_up(Dependency::Database, up);
    vec![
        Condition {
            dependency: Dependency::Database,
            up,
            vital: true,
            took: Some(took),
        },
        // Only a real entry tells whether it can be written: as of the last one.
        Condition {
            dependency: Dependency::Log,
            up: app.metrics.answers(Dependency::Log),
            vital: false,
            took: None,
        },
    ]
}

/// Whether the process can take work.
#[must_use]
pub fn suffices(conditions: &[Condition]) -> bool {
    conditions.iter().all(|it| it.up || !it.vital)
}

/// Each dependency's state, for people and programs.
#[must_use]
pub fn described(conditions: &[Condition]) -> Value {
    let described = conditions.iter().map(|it| {
        let mut state = json!({"state": if it.up { "up" } else { "down" }});
        if let Some(took) = it.took {
            state["answer_ms"] = json!(milliseconds(took));
        }
        (it.dependency.as_str().to_owned(), state)
    });
    Value::Object(described.collect::<Map<_, _>>())
}

/// With two decimals.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e5).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_vital_may_be_down() {
        let condition = |dependency, up, vital| Condition {
            dependency,
            up,
            vital,
            took: up.then_some(Duration::from_micros(1_234)),
        };
        let conditions = [
            condition(Dependency::Database, true, true),
            condition(Dependency::Log, false, false),
        ];
        assert!(suffices(&conditions));
        let told = described(&conditions);
        assert_eq!(
            told,
            json!({"database": {"state": "up", "answer_ms": 1.23}, "log": {"state": "down"}})
        );
        assert!(!suffices(&[condition(Dependency::Database, false, true)]));
    }
}
