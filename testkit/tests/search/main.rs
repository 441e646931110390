//! The search for programs of others, on small programs of our own: what it finds, and what it says of
//! a program that can't be judged.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "../wire/client.rs"]
#[expect(dead_code, reason = "it has more than these programs need")]
mod client;
mod command_line;
mod consumer;
mod findings;
mod unusable;
