//! The path of an entry through the server.

pub mod settings;

pub use settings::Settings;

pub mod login;
