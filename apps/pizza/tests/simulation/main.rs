//! The shipping services, chained, under faults of every kind: crashes at every effect, zombies,
//! rebalances, a broker that misbehaves, retention, clocks that jump.
//!
//! `SIMULATION_SCHEDULES=20000 cargo test --release -p pizza --test simulation -- --nocapture`
//! searches for longer; `SIMULATION_SEED` is where it begins.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]
#![expect(clippy::print_stdout, reason = "a search shows its figures")]

mod follower;
mod invariants;
mod orders;
mod promises;
mod search;
mod shop;
