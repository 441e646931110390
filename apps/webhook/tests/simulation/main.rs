//! The shipping webhook topology with the real job sink, under faults of every kind: crashes at every
//! effect, zombies, rebalances, a broker and a receiver that misbehave.
//!
//! `SIMULATION_SCHEDULES=20000 cargo test -p webhook --test simulation -- --nocapture` searches for
//! longer; `SIMULATION_SEED` is where it begins.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]
#![expect(clippy::print_stdout, reason = "a search shows its figures")]

#[path = "../../../../tests/effects/mod.rs"]
mod effects;
mod invariants;
mod jobs;
mod outside;
mod promises;
#[path = "../receiver/mod.rs"]
mod receiver;
mod search;
mod stream;
