//! The rules of the log in Redis, tried out without Redis: random histories of gateways and workers
//! that die, of a Redis that comes back with too little, and of clients who send again. With all
//! rules every promise holds; each rule is needed, for without it some history breaks a promise.

mod clients;
mod gateway;
mod install;
mod postgres;
mod random;
mod redis;
mod rules;
mod worker;
mod world;

use rules::{RULES, Rules};

/// Histories with all rules, and without each of them.
const ALL: u64 = 1_000;
const WITHOUT: u64 = 400;

#[test]
fn with_all_rules_every_promise_is_kept() {
    eprintln!("seeds 0..{ALL}");
    for seed in 0..ALL {
        let broken = world::run(seed, Rules::all());
        assert_eq!(broken, Ok(()), "seed {seed}");
    }
}

#[test]
fn each_rule_is_needed() {
    eprintln!("of {WITHOUT} histories, seeds from 0, broken without each rule:");
    let mut useless = Vec::new();
    for rule in RULES {
        let broken: Vec<_> = (0..WITHOUT)
            .filter_map(|seed| Some((seed, world::run(seed, Rules::without(rule)).err()?)))
            .collect();
        let first = broken.first();
        eprintln!("{:4}  {rule:?}, first: {first:?}", broken.len());
        useless.extend(first.is_none().then_some(rule));
    }
    assert!(useless.is_empty(), "nothing shows what {useless:?} are for");
}
