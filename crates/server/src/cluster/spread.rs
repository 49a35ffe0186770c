//! How evenly gateways share the load.

use std::time::Instant;

use banter_storage::gossip::Standing;

use crate::metric::{ClusterMetrics, Spread, cpu_seconds};

/// The share that the last second has in what is told of the CPU: a process's clock ticks a hundred
/// times a second, so that one second alone tells little of a process that is nearly idle.
const NEWS: f64 = 0.1;

/// How much CPU this process uses.
#[derive(Debug)]
pub struct Cpu {
    at: Instant,
    seconds: f64,
    cores: f64,
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            at: Instant::now(),
            seconds: cpu_seconds().unwrap_or(0.0),
            cores: 0.0,
        }
    }
}

impl Cpu {
    /// Thousandths of a core, over the last ten seconds or so; to be asked about every second.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some cores, and never less than none"
    )]
    pub fn millicores(&mut self) -> u64 {
        let (now, seconds) = (Instant::now(), cpu_seconds().unwrap_or(0.0));
        let passed = (now - self.at).as_secs_f64().max(1e-3);
        let cores = (seconds - self.seconds).max(0.0) / passed;
        self.cores += NEWS * (cores - self.cores);
        (self.at, self.seconds) = (now, seconds);
        (self.cores * 1e3) as u64
    }
}

/// Tells how evenly this gateway and its peers share the load.
pub fn spread(own: Standing, peers: &[Standing], metrics: &ClusterMetrics) {
    let all = || peers.iter().copied().chain([own]);
    let ready: Vec<_> = all().filter(|it| it.ready).collect();
    metrics.peers(ready.len(), all().count() - ready.len());
    let sockets = ready.iter().map(|it| it.sockets as u64);
    metrics.spread("connections", of(sockets));
    metrics.spread("cpu", of(ready.iter().map(|it| it.millicores)));
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn of(values: impl ExactSizeIterator<Item = u64> + Clone) -> Spread {
    let count = values.len().max(1) as f64;
    let values = values.map(|value| value as f64);
    let mean = values.clone().sum::<f64>() / count;
    if mean <= 0.0 {
        // Nothing is spread evenly.
        return Spread {
            variation: 0.0,
            peak: 1.0,
        };
    }
    let squares = values.clone().map(|value| (value - mean).powi(2));
    Spread {
        variation: (squares.sum::<f64>() / count).sqrt() / mean,
        peak: values.fold(0.0, f64::max) / mean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unequal_loads_show() {
        let even = of([50, 50, 50].into_iter());
        assert_eq!((even.variation, even.peak), (0.0, 1.0));
        let odd = of([100, 300].into_iter());
        assert_eq!((odd.variation, odd.peak), (0.5, 1.5));
        let none = of([0, 0].into_iter());
        assert_eq!((none.variation, none.peak), (0.0, 1.0));
        assert_eq!(of([].into_iter()), none);
    }

    #[test]
    fn a_gateway_that_leaves_is_known_and_not_compared() {
        let metrics = crate::metric::Metrics::new();
        let standing = |sockets, ready| Standing {
            sockets,
            ready,
            ..Standing::default()
        };
        let peers = [standing(30, true), standing(0, false)];
        spread(standing(10, true), &peers, &metrics.cluster);
        let text = metrics.encode();
        for line in [
            "banter_gateway_peers{state=\"ready\"} 2\n",
            "banter_gateway_peers{state=\"draining\"} 1\n",
            "banter_gateway_balance_variation{measure=\"connections\"} 0.5\n",
            "banter_gateway_balance_peak{measure=\"connections\"} 1.5\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
