//! Load on a server by people who keep to a schedule, and the truth about what it did.
//!
//! [`run::Load`] seeds accounts, starts generators (each a process of its own, so that none is the
//! bottleneck), watches every process of the server, audits what was said and delivered, and
//! judges. A generator is [`generate`].

pub mod chance;
pub mod compare;
pub mod crowd;
mod engine;
pub mod fault;
pub mod limit;
pub mod outcome;
pub mod plan;
pub mod profile;
pub mod queue;
pub mod report;
pub mod roster;
pub mod run;
pub mod sample;
mod schedule;
pub mod slo;
pub mod soak;
pub mod stress;
pub mod target;
pub mod text;
pub mod watch;

pub use engine::generate;
