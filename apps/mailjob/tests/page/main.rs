//! The live page, as a browser's requests see it: of a demo, which is a process of its own, and of
//! a service, in this one.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod client;
#[path = "../../../../tests/contrast/mod.rs"]
mod contrasts;
mod demo;
mod door;
mod events;
mod exhaustion;
mod files;
mod jobs;
mod mails;
mod misfortunes;
mod service;
mod sites;
