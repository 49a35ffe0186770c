//! Banter from outside: its commands and its public interfaces, nothing else.

mod broadcast;
mod channels;
mod client;
mod cluster;
mod command_line;
mod connect;
mod deadlines;
mod deploy;
mod durability;
mod foreign;
mod heartbeat;
mod history;
mod hostile;
mod limits;
mod load;
mod login;
mod metrics;
mod nginx;
mod openapi;
mod races;
mod roles;
mod secrecy;
mod send;
mod smoke;
mod support;
mod token;
