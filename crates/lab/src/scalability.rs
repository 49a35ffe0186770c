//! Whether it scales: what docs/scalability.md shows, measured with `banter load` and
//! `banter stress` as anybody can.
//!
//! Each experiment leaves the reports of its runs in a file; the document's tables, sentences with
//! figures and charts are made from those files, so that a part can be measured again alone.

mod chart;
mod conclusion;
mod document;
mod experiment;
mod run;
mod table;
mod told;

pub use self::document::draw;
pub use self::experiment::{ALL, Experiment};
pub use self::run::Runner;
