//! The generator against servers that do nothing else, and against some that lie.

mod lies;
mod null;

use std::time::Duration;

use banter_lab::generator::{Generator, Load, Pace, Run, Seat};
use rustix::time::{ClockId, Timespec, clock_gettime};

use null::{DECEIVED, Lie, Null};

/// Sockets of a load; some of them watch, some send.
const SOCKETS: usize = 40;

fn load(lie: Lie, load: &Load) -> Run {
    let server = Null::start(lie);
    let me = rustix::process::getpid();
    let mut generator =
        Generator::new(&[server.address()], me.into(), &[server.channel()]).unwrap();
    let seats: Vec<_> = (0..SOCKETS)
        .map(|number| {
            let token = if number == 1 { DECEIVED } else { "token" };
            let seat = Seat::listener(token, &[0]);
            match number % 8 {
                0 => seat.sending(0),
                1 => seat.watching(),
                _ => seat,
            }
        })
        .collect();
    generator.open(&seats).unwrap();
    generator.run(load).unwrap()
}

fn open_loop() -> Load {
    Load {
        warm_up: Duration::from_millis(200),
        duration: Duration::from_secs(2),
        ..Load::new(Pace::Rate {
            per_second: 200.0,
            channels: 1,
        })
    }
}

#[test]
fn an_honest_server_is_found_honest() {
    let run = load(Lie::None, &open_loop());
    assert_eq!(run.lost, 0, "{:?}", run.faults);
    assert_eq!(run.faults(), 0, "{:?}", run.faults);
    // 2.2 s of 200 messages/s, of which 2 s are timed.
    assert!((438..=440).contains(&run.acked_in_all), "{run:?}");
    assert_eq!(run.ack.len(), 400);
    assert_eq!(run.delivery.len(), 400 * 10, "ten sockets watch");
}

#[test]
fn a_window_goes_as_fast_as_it_can() {
    let pace = Pace::Window {
        messages: 20,
        channels: 1,
    };
    let begun = clock_gettime(ClockId::ThreadCPUTime);
    let run = load(
        Lie::None,
        &Load {
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(60),
            messages_max: 2_000,
            ..Load::new(pace)
        },
    );
    let ended = clock_gettime(ClockId::ThreadCPUTime);
    assert_eq!((run.lost, run.faults()), (0, 0), "{:?}", run.faults);
    assert_eq!(run.acked_in_all, 2_000);
    // The null server works on other threads; this one is the generator.
    let micros = |t: Timespec| {
        Duration::new(t.tv_sec.unsigned_abs(), 0).as_micros()
            + u128::from(t.tv_nsec.unsigned_abs()) / 1_000
    };
    let cost = micros(ended) - micros(begun);
    eprintln!(
        "the generator took {cost} µs for {} deliveries",
        2_000 * SOCKETS
    );
}

#[test]
fn a_lost_message_is_missed() {
    let run = load(Lie::Lose(100), &open_loop());
    assert_eq!(run.lost, 1);
}

#[test]
fn a_repeated_message_is_one_too_many() {
    let run = load(Lie::Repeat(100), &open_loop());
    assert_eq!(run.lost, -1);
}

#[test]
fn swapped_messages_are_out_of_order() {
    let run = load(Lie::Swap(100), &open_loop());
    assert_eq!(run.lost, 0);
    assert_eq!(run.faults.get("out of order"), Some(&1), "{:?}", run.faults);
}

#[test]
fn a_refused_message_is_told() {
    let run = load(Lie::Refuse(100), &open_loop());
    assert_eq!(run.lost, 0);
    assert_eq!(run.faults.get("slow_down"), Some(&1), "{:?}", run.faults);
}

#[test]
fn a_stall_counts_for_all_that_it_held_up() {
    let run = load(Lie::Stall(100, Duration::from_millis(500)), &open_loop());
    assert_eq!(run.lost, 0);
    assert!(run.delivery.quantile_ms(1.0) >= 480.0, "{run:?}");
    // Half a second of the schedule, a quarter of the messages: not one slow answer.
    assert!(run.delivery.quantile_ms(0.85) >= 100.0, "{run:?}");
}
