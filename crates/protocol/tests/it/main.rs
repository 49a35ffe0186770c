//! The wire as outsiders see it: frozen frames, hostile input, lost and repeated deliveries.

mod decode;
mod delivery;
mod frozen;
mod hostile;
mod json;
