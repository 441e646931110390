//! The job sink and the topology, on a network in memory.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod batches;
mod data;
mod documented;
mod encrypted;
mod fates;
mod private;
#[path = "../receiver/mod.rs"]
mod receiver;
mod receivers;
mod redirects;
mod signature;
mod support;
mod thousand;
mod topology;
