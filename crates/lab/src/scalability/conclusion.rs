//! What follows from the figures, in sentences that hold whatever they are.

use super::told::{P50, P99, Ran, Told};
use crate::load::slo::number;

/// A hundred times the people.
pub(super) fn growth(runs: &[(String, &Ran)]) -> String {
    let community = |ran: &&Ran| ran.profile == "community";
    let runs: Vec<&Ran> = runs.iter().map(|(_, ran)| *ran).filter(community).collect();
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        return String::new();
    };
    let people = f64::from(last.users) / f64::from(first.users.max(1));
    let cores = (
        last.all_cores(),
        last.all_cores() / f64::from(last.users) * 1e3,
    );
    format!(
        "{} times the people brought {} times the deliveries. All of the server took {} cores, {} for each \
         1,000 people, and delivery went from {} to {} ms at the median and from {} to {} ms at p99.\n",
        number(people),
        ratio(
            last.per_second("deliveries"),
            first.per_second("deliveries")
        ),
        number(cores.0),
        number(cores.1),
        ms(first, "delivery", P50),
        ms(last, "delivery", P50),
        ms(first, "delivery", P99),
        ms(last, "delivery", P99),
    )
}

/// One row for each transaction, then batches.
pub(super) fn batches(runs: &[(String, &Ran)]) -> String {
    compared(runs, |[one, many]| {
        format!(
            "With one row for each transaction, worker and PostgreSQL took {} µs of CPU for a row; \
             with batches {} µs: {} times as much without them. \
             {} rows a second were stored of {} that came; with batches {} of {}.\n",
            text(one.us_per_row()),
            text(many.us_per_row()),
            ratio(one.us_per_row(), many.us_per_row()),
            text(one.stored),
            text(one.per_second("acked")),
            text(many.stored),
            text(many.per_second("acked")),
        )
    })
}

/// Every channel, then its own.
pub(super) fn hearing(runs: &[(String, &Ran)]) -> String {
    compared(runs, |[all, own]| {
        let redis = [all, own].map(|ran| ran.cores("redis"));
        format!(
            "Hearing everything, the gateways took {} of a core and a delivery cost {} µs; hearing what is theirs, \
             {} and {} µs: {} times as much without Pub/Sub by channel. Redis took {} and {}.\n",
            text(all.cores("gateway")),
            text(all.us_per_delivery()),
            text(own.cores("gateway")),
            text(own.us_per_delivery()),
            ratio(all.us_per_delivery(), own.us_per_delivery()),
            text(redis[0]),
            text(redis[1]),
        )
    })
}

/// One process without and with logins, then a cluster.
pub(super) fn logins(runs: &[(String, &Ran)]) -> String {
    compared(runs, |[one, one_stormy, two, two_stormy]| {
        format!(
            "The storm took the p99 of a delivery from {} to {} ms on one process ({} times), \
             and from {} to {} ms on the cluster ({} times). The hashing itself, {} of a core in \
             the process that also chats, is {} of a core in a process that does nothing else, \
             and can be given a machine of its own.\n",
            ms(one, "delivery", P99),
            ms(one_stormy, "delivery", P99),
            ratio(one_stormy.time("delivery", P99), one.time("delivery", P99)),
            ms(two, "delivery", P99),
            ms(two_stormy, "delivery", P99),
            ratio(two_stormy.time("delivery", P99), two.time("delivery", P99)),
            text(difference(one_stormy.cores("serve"), one.cores("serve"))),
            text(two_stormy.cores("auth")),
        )
    })
}

/// 1, 2 and 4 gateways, then two workers.
pub(super) fn instances(runs: &[(String, &Ran)]) -> String {
    compared(runs, |[one, two, four, workers]| {
        format!(
            "A delivery cost {} µs with one gateway, {} with two and {} with four; each gateway took {}, {} and {} of \
             a core. A stored row cost {} µs with one worker and {} with two.\n",
            text(one.us_per_delivery()),
            text(two.us_per_delivery()),
            text(four.us_per_delivery()),
            text(one.cores("gateway")),
            text(two.cores("gateway").map(|cores| cores / 2.0)),
            text(four.cores("gateway").map(|cores| cores / 4.0)),
            text(two.us_per_row()),
            text(workers.us_per_row()),
        )
    })
}

/// Whether anything was lost, repeated or reordered.
pub(super) fn audit(runs: &[(String, &Ran)]) -> String {
    let broken: f64 = runs.iter().map(|(_, ran)| ran.audit.violations).sum();
    let sum = |what: &str| {
        let counts = runs.iter().filter_map(|(_, ran)| ran.counts.get(what));
        number(counts.sum())
    };
    format!(
        "\n{} messages and {} deliveries were checked; {} promises were broken.\n",
        sum("acked"),
        sum("deliveries"),
        number(broken)
    )
}

/// What was measured, and on what.
pub(super) fn machine(told: &Told) -> String {
    let day = told.started_at.split('T').next().unwrap_or_default();
    format!("Measured on {day} with {}.\n", told.machine)
}

fn compared<const N: usize>(
    runs: &[(String, &Ran)],
    sentence: impl FnOnce([&Ran; N]) -> String,
) -> String {
    let runs: Vec<&Ran> = runs.iter().map(|(_, ran)| *ran).collect();
    runs.try_into().map(sentence).unwrap_or_default()
}

fn ms(ran: &Ran, measure: &str, place: usize) -> String {
    text(ran.time(measure, place))
}

fn text(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

fn ratio(above: Option<f64>, below: Option<f64>) -> String {
    let below = below.filter(|below| *below > 0.0);
    text(above.zip(below).map(|(above, below)| above / below))
}

fn difference(more: Option<f64>, less: Option<f64>) -> Option<f64> {
    Some(more? - less?)
}
