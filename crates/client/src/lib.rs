//! The other end of the wire: log in, call, connect, and stay connected.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use banter_client::{Client, connection::Event};
//!
//! let client = Client::login("http://127.0.0.1:8080", "ann", "correct horse").await?;
//! let channel = client.find_channels("ops").await?.pop().ok_or("no such channel")?;
//! let (handle, mut events) = client.connect(Default::default());
//! let id = handle.send(channel.id, "hello").await?;
//! while let Some(event) = events.next().await {
//!     if matches!(&event, Event::Ack(ack) if ack.id == id) {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The rules (`frame`, `backoff`, `pace`, `outbox`, `follow`) neither await nor ask the time;
//! `socket` and `connection` move their bytes.

pub mod error;

pub mod frame;

pub mod backoff;

pub mod pace;

pub mod outbox;

pub mod follow;

mod http;

pub mod session;

pub mod store;

pub mod calls;

pub mod admin;

mod socket;

mod upgrade;

pub mod connection;

pub use calls::Client;
pub use error::Error;
