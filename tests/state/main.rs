//! Keyed state: it holds the changes of exactly the finished records, whatever happens.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod changes;
mod counting;
mod grown;
mod owners;
mod restores;
#[path = "../support/mod.rs"]
mod support;
