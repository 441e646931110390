//! The web app, asked by a client over TCP.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod cancelling;
mod contrast;
#[path = "../../../../tests/contrast/mod.rs"]
mod contrasts;
mod events;
mod headers;
mod log_in;
mod ordering;
mod privacy;
mod session_key;
mod shop;
mod stream;
mod visitor;
