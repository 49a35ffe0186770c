//! The log of a cluster on real servers.

mod postgres_server;
#[path = "../it/servers/redis.rs"]
mod redis_server;
mod smoke;
