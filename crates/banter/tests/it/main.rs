//! Banter from outside: its commands and its public interfaces, nothing else.

mod client;
mod command_line;
mod support;
