//! The listener, asked byte by byte.

#![expect(clippy::unwrap_used, reason = "a test")]

mod client;
mod fetching;
mod groups;
mod hostile;
mod producing;
mod versions;
