//! What the system tells about this process, read when somebody scrapes. Names are those of every
//! Prometheus client.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, 100 on every architecture in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self` at each scrape; where there is none, only the start is told.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    /// To be made when the process starts.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: since.unwrap_or_default().as_secs_f64(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let started = ConstGauge::new(self.started);
        let help = "When the process began, in seconds since 1970";
        write(&mut encoder, "process_start_time_seconds", help, &started)?;
        if let Some(seconds) = cpu_seconds() {
            let help = "User and system CPU time";
            // The text format appends `_total` to a counter's name.
            let spent = ConstCounter::new(seconds);
            write(&mut encoder, "process_cpu_seconds", help, &spent)?;
        }
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                resident_bytes(),
            ),
            ("process_open_fds", "Open file descriptors", open_fds()),
            ("process_max_fds", "File descriptors allowed", max_fds()),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                write(&mut encoder, name, help, &ConstGauge::new(value))?;
            }
        }
        Ok(())
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> std::fmt::Result {
    let described = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(described)
}

/// User and system time that the process has used.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the command in brackets, which may hold spaces; then utime and stime are
    // the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Memory of the process that is in memory.
pub(crate) fn resident_bytes() -> Option<f64> {
    Some(kib("VmRSS:")? * 1024.0)
}

fn kib(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 descriptors")]
fn open_fds() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let name = "Max open files";
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::metric::Metrics;

    #[test]
    fn a_scrape_tells_of_the_process_under_the_usual_names() {
        let text = Metrics::new().encode();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.unwrap_or_else(|| panic!("no {name} in {text}")).trim();
            value.parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_start_time_seconds ") > 1.7e9);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        assert!(text.contains("banter_gateway_connections{"));
    }
}
