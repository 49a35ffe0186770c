//! The wire as outsiders see it: frozen frames, hostile input, lost and repeated deliveries.

mod asyncapi;
mod corpus;
mod decode;
mod delivery;
mod document;
mod frozen;
mod hostile;
mod json;
mod references;
mod schema;
