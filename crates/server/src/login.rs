//! Who somebody is: accounts, passwords, sessions, tokens.

pub mod keys;
pub mod password;
pub mod refresh;
pub mod secret;
pub mod throttle;
pub mod token;
