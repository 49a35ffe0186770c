//! Sockets: from the upgrade through `hello` to the last close.
//!
//! A socket is one task that reads, and an [`crate::broadcast::Outbound`] that everybody may write
//! to. While nothing happens a socket holds no buffer.

mod admission;
pub mod balance;
mod hello;
mod reader;
mod replay;
mod socket;
mod upgrade;

pub use admission::Admissions;
pub use upgrade::routes;
