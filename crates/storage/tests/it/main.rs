//! The stores from outside, on real databases: the same tests over each.

mod accounts;
mod bus;
mod channels;
mod entries;
mod fixture;
mod log;
mod login_failures;
mod postgres;
mod seats;
mod seed;
mod servers;
mod webhooks;
mod write;
