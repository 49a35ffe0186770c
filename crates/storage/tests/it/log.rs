//! The log: one suite over every kind, and what only the one of a cluster does.

mod contract;
mod cost;
mod drain;
mod epochs;
mod fixture;
mod limits;
mod random;
