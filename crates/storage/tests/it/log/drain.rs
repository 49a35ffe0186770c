//! The way from Redis into the database, and what goes wrong on it.
