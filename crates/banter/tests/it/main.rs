//! Banter from outside: its commands and its public interfaces, nothing else.

mod command_line;
mod support;
