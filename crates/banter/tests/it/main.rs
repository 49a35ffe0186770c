//! Banter from outside: its commands and its public interfaces, nothing else.

mod broadcast;
mod channels;
mod client;
mod command_line;
mod connect;
mod deadlines;
mod durability;
mod foreign;
mod history;
mod hostile;
mod limits;
mod login;
mod openapi;
mod races;
mod roles;
mod secrecy;
mod send;
mod smoke;
mod support;
mod token;
