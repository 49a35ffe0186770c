//! An access token, signed or not.
#![no_main]

use banter_server::login;

#[path = "../checks/token.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    check::check(data);
});
