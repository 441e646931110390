//! The live page beside a service, as a browser's requests see it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod client;
mod door;
mod events;
mod job;
mod service;
