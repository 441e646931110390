//! The shipping mail topology with the real mail sink, under faults of every kind: crashes at every
//! effect, zombies, rebalances, a broker and a mail server that misbehave.
//!
//! `SIMULATION_SCHEDULES=20000 cargo test -p mailjob --test simulation -- --nocapture` searches for
//! longer; `SIMULATION_SEED` is where it begins. The search over a million jobs, on every core, is
//! `cargo test --release -p mailjob --test simulation -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]
#![expect(clippy::print_stdout, reason = "a search shows its figures")]

mod doubt;
#[path = "../../../../tests/effects/mod.rs"]
mod effects;
mod found;
mod invariants;
mod jobs;
mod ledgers;
mod million;
mod misfortunes;
mod outside;
mod promises;
mod regressions;
mod relays;
mod search;
mod zombies;
