//! A configuration file.
#![no_main]

#[expect(dead_code, reason = "the command's own part is not under test")]
#[path = "../../crates/banter/src/config.rs"]
mod config;

#[path = "../checks/config.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
