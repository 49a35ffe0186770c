//! The path of an entry through the server: login, connect, channels, send, broadcast, persist,
//! history.

pub mod login;

pub mod connect;

pub mod channels;

pub mod send;

pub mod broadcast;

pub mod persist;

pub mod history;

pub mod cluster;

pub mod app;

pub mod health;

pub mod http;

pub mod problem;

pub mod settings;

pub mod metric;

pub mod trace;

pub mod admin;

mod pulse;

mod status;

pub mod clock;

mod openapi;

mod page;

mod random;

mod run;

pub use run::{Listeners, StartError, run};
pub use settings::{Role, Settings};
