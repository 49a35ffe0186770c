//! Every metric has its name, every socket its state; what counting costs is printed.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn every_name_is_registered_once_under_its_full_name() {
    let text = Metrics::new().encode();
    let with_samples_later = [
        Name::HttpRequests,
        Name::HttpRequestDuration,
        Name::DependencyUp,
        Name::DependencyRequestDuration,
        Name::GatewayAckDuration,
    ];
    for name in Name::ALL {
        let head = format!("# HELP {} {}.\n", name.full(), name.help());
        let expected = usize::from(!with_samples_later.contains(name));
        assert_eq!(text.matches(&head).count(), expected, "{head}");
    }
}

#[test]
fn a_socket_is_counted_in_one_state() {
    let metrics = Metrics::new();
    let count = || metrics.connections.each_ref().map(Gauge::get);
    let mut socket = Counted::begin(&metrics);
    assert_eq!(count(), [1, 0, 0]);
    socket.set(Stage::Ready);
    socket.set(Stage::Ready);
    assert_eq!((count(), metrics.ready()), ([0, 1, 0], 1));
    socket.set(Stage::Draining);
    assert_eq!(count(), [0, 0, 1]);
    socket.end("gone");
    assert_eq!(count(), [0, 0, 0]);
    let closed = metrics.closed.get_or_create_owned(&"gone".into());
    assert_eq!(closed.get(), 1);
}

/// Without it Prometheus can compute no quantile at all.
#[test]
fn a_histogram_ends_with_infinity_in_both_formats() {
    let metrics = Metrics::new();
    metrics.delivery_latency.observe(1e9);
    for text in [metrics.encode(), metrics.encode_openmetrics()] {
        let name = "banter_gateway_delivery_latency_seconds_bucket";
        let buckets: Vec<_> = text.lines().filter(|line| line.starts_with(name)).collect();
        let last = format!("{name}{{le=\"+Inf\"}} 1");
        let bounds = Name::GatewayDeliveryLatency.bounds().len();
        assert_eq!(buckets.len(), bounds + 1, "{buckets:#?}");
        assert_eq!(buckets.last(), Some(&last.as_str()));
    }
}

/// Prints what an update costs; a build without optimisation tells little.
#[test]
fn updates_are_cheap() {
    const UPDATES: u32 = 1_000_000;
    let metrics = Metrics::new();
    let code = Reason::from("unavailable");
    let updates: [(&str, &dyn Fn(f64)); 5] = [
        ("counter", &|_| {
            metrics.deliveries.inc();
        }),
        ("gauge", &|_| {
            metrics.traffic.waiting.inc_by(3);
        }),
        ("histogram", &|at| metrics.delivery_latency.observe(at)),
        ("counter with a label", &|_| {
            metrics.limited("socket_frames")
        }),
        ("counter by reason", &|_| {
            metrics.rejected.get_or_create(&code).inc();
        }),
    ];
    for (name, update) in updates {
        let begun = Instant::now();
        for turn in 0..UPDATES {
            update(f64::from(turn % 1000) / 1e3);
        }
        let took: Duration = begun.elapsed();
        eprintln!(
            "{name}: {:.1} ns an update",
            took.as_secs_f64() * 1e9 / f64::from(UPDATES)
        );
    }
    assert_eq!(metrics.deliveries.get(), u64::from(UPDATES));
}
