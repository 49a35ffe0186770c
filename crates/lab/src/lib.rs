//! The instrument: it puts load on a server and tells the truth about both.
//!
//! The generator is a process of its own and cheap; its cost is printed with every figure, and a
//! run in which it or anything else was the limit is marked as invalid. Load is open loop unless it
//! says "as fast as it goes": a message counts from the moment at which it should have been sent.
//! Servers are started as child processes and spoken to from outside, like anybody's.

pub mod generator;

pub mod wire;

pub mod http;

pub mod service;

pub mod cluster;

pub mod scrape;

pub mod process;

pub mod machine;

pub mod statistics;
pub mod stream;

pub mod audit;

pub mod load;

pub mod faults;

pub mod commit;

pub mod seed;

pub mod row;

pub mod report;

pub mod scalability;
