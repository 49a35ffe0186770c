//! Measures how far behind the event loop is.
//!
//! From a thread of its own: a task that measured itself would only run when the loop is well.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::metric::Metrics;

/// Often enough to see a stall of a tenth of a second, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(100);

/// Starts the thread; it ends with `stop`.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(metrics: Metrics, stop: CancellationToken) -> std::io::Result<()> {
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("pulse".into());
    thread.spawn(move || {
        while !stop.is_cancelled() {
            let (ready, delay) = (Instant::now(), metrics.poll_delay.clone());
            runtime.spawn(async move { delay.observe_duration(ready.elapsed()) });
            std::thread::sleep(INTERVAL);
        }
    })?;
    Ok(())
}
