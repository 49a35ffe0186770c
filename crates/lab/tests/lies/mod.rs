//! The generator and the audit together, against a server that does one thing wrong.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use banter_lab::audit::{Audit, Event, Report, Rule, What, content, fingerprint};
use banter_lab::load::generate;
use banter_lab::load::plan::{Command, Person, Plan, Told};
use banter_lab::load::profile::Profile;
use banter_lab::load::sample::{Measure, Sample};
use banter_lab::statistics::Times;
use banter_protocol::id::Position;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::null::{DECEIVED, Lie, Null};

/// Users of a load; one of them is lied to.
const USERS: u32 = 20;
/// Messages a second.
const RATE: f64 = 300.0;

struct Seen {
    report: Report,
    samples: Vec<Sample>,
    /// CPU time of the generator.
    cost: Duration,
}

fn name(number: u32) -> String {
    match number {
        1 => DECEIVED.to_owned(),
        number => format!("user{number}"),
    }
}

/// Everybody in the server's one channel.
fn plan(server: &Null) -> Plan {
    let person = |number: u32| Person {
        number,
        // The server takes it for the name.
        token: name(number),
        refresh_token: String::new(),
        expires_ns: u64::MAX,
    };
    Plan {
        server: server.address(),
        host: "null".to_owned(),
        tls: None,
        profile: Profile::built_in("room").unwrap(),
        rate: RATE,
        phase: 0.0,
        seed: 1,
        generator: 0,
        people: (0..USERS).map(person).collect(),
        names: (0..USERS).map(name).collect(),
        channels: vec![server.channel().to_string()],
        everybody: true,
        password: String::new(),
        patience_ns: 60_000_000_000,
    }
}

/// A load of two seconds, seen through a generator, and judged.
fn load(lie: Lie) -> Seen {
    let server = Null::start(lie);
    let plan = plan(&server);
    let (give, commands) = channel();
    give.send(Command::Plan(Box::new(plan))).unwrap();
    let (mut samples, mut condensed) = (Vec::new(), None);
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap(),
        )
    };
    let (begun, mut acting) = (Instant::now(), cpu());
    generate(&commands, &mut |told| {
        match told {
            Told::Ready => {
                acting = cpu();
                let now = clock_gettime(ClockId::Monotonic);
                let now = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
                give.send(Command::Go {
                    start_ns: now,
                    measured_ns: now,
                    end_ns: now + 2_000_000_000,
                })?;
            }
            Told::Sample(sample) => samples.push(*sample),
            Told::Done(all) => condensed = Some(*all),
            Told::Opened(_) => {}
            Told::Failed(why) => panic!("{why}"),
        }
        Ok(())
    })
    .unwrap();
    let cost = cpu() - acting;
    assert!(begun.elapsed() < Duration::from_secs(60));
    let mut audit = Audit::default();
    for member in 0..USERS {
        audit.take(Event::Member { channel: 0, member });
    }
    audit.absorb(condensed.unwrap());
    for entry in server.entries() {
        audit.take(page(&entry));
    }
    let report = audit.finish();
    Seen {
        report,
        samples,
        cost,
    }
}

/// An entry of history, read by other means than the generator's.
fn page(entry: &str) -> Event {
    let entry: Value = serde_json::from_str(entry).unwrap();
    let text = |field: &str| entry[field].as_str().unwrap();
    let author = (0..USERS).find(|number| name(*number) == text("author"));
    Event::Page {
        channel: 0,
        position: Position {
            seq: entry["seq"].as_u64().unwrap(),
            epoch: 1,
        },
        what: What::Message {
            author: author.unwrap(),
            id: fingerprint(text("id")),
            content: content(text("body").as_bytes()),
        },
    }
}

fn times(samples: &[Sample], measure: Measure) -> Times {
    let mut times = Times::default();
    for sample in samples {
        times.add_counts(sample.times.get(&measure).map_or(&[], Vec::as_slice));
    }
    times
}

#[test]
fn an_honest_server_keeps_its_promises() {
    let seen = load(Lie::None);
    let report = &seen.report;
    assert_eq!(report.violations, 0, "{:?}", report.findings);
    assert!((598..=600).contains(&report.acked), "{report:?}");
    assert_eq!(report.acked, report.sent);
    assert_eq!(report.deliveries, report.acked * u64::from(USERS));
    assert_eq!(
        times(&seen.samples, Measure::Delivery).len(),
        report.deliveries
    );
    assert!(seen.samples.iter().all(|sample| sample.errors.is_empty()));
    let each = seen.cost / u32::try_from(report.deliveries).unwrap();
    eprintln!("the generator took {each:?} for each delivery, with all that it audits");
}

#[test]
fn every_lie_is_found_by_the_rule_it_breaks() {
    for (lie, rule) in [
        (Lie::Lose(100), Rule::Order),
        (Lie::Repeat(100), Rule::Order),
        (Lie::Swap(100), Rule::Order),
        (Lie::Change(100), Rule::Content),
        (Lie::Swallow(100), Rule::Order),
    ] {
        let report = load(lie).report;
        assert!(
            report.broken().contains(&rule),
            "{lie:?}: {:?}",
            report.counts
        );
        // It is told where: the entry of that number, or the one beside it.
        let told = report
            .findings
            .iter()
            .any(|(_, finding)| finding.seq.is_some_and(|seq| (99..=101).contains(&seq)));
        assert!(told, "{lie:?}: {:?}", report.findings);
    }
}

#[test]
fn a_refused_message_is_an_error_and_no_lie() {
    let seen = load(Lie::Refuse(100));
    assert_eq!(seen.report.violations, 0, "{:?}", seen.report.findings);
    assert_eq!(seen.report.refused, 1);
    let errors = seen
        .samples
        .iter()
        .filter_map(|sample| sample.errors.get("slow_down"));
    assert_eq!(errors.sum::<u64>(), 1);
}

#[test]
fn a_stall_shows_at_its_size() {
    let seen = load(Lie::Stall(200, Duration::from_millis(500)));
    assert_eq!(seen.report.violations, 0, "{:?}", seen.report.findings);
    let acks = times(&seen.samples, Measure::Ack);
    let deliveries = times(&seen.samples, Measure::Delivery);
    for times in [&acks, &deliveries] {
        // Half a second of the schedule is a quarter of all, and not one slow answer.
        assert!(
            times.quantile_ms(0.999) >= 470.0,
            "{}",
            times.quantile_ms(0.999)
        );
        assert!(
            times.quantile_ms(0.85) >= 100.0,
            "{}",
            times.quantile_ms(0.85)
        );
    }
}
