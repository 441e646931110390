//! The ledger: how often a job is executed, whatever happens.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod crashes;
mod ends;
mod gates;
mod kept;
mod noting;
#[path = "../support/mod.rs"]
mod support;
mod zombies;
