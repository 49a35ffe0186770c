//! The wire of Banter and its rules: frames, limits, codes, and what may follow what.
//!
//! Nothing here awaits, opens a file or asks the time: every rule is a plain function that a test
//! calls.

pub mod limit;

pub mod id;

pub mod text;

pub mod time;

pub mod entry;

pub mod error;

pub mod close;

pub mod frame;

pub mod websocket;

pub mod session;

pub mod resume;

pub mod sequence;

/// The `AsyncAPI` 3.0 document of the socket, as served at `/asyncapi.json`.
pub const ASYNCAPI: &str = include_str!("../asyncapi.json");
