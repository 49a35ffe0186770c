//! A configuration file.
#![no_main]

/// The binary has no library: its module is compiled in here.
#[path = "../../crates/banter/src"]
mod banter {
    #[expect(dead_code, reason = "the command's own part is not under test")]
    pub(crate) mod config;
}
use banter::config;

#[path = "../checks/config.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
