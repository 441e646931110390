//! The simulation, on a small job sink of its own: what holds is found to hold, what is broken is
//! found broken.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]
#![expect(clippy::print_stdout, reason = "a search shows its figures")]

mod attempts;
mod promises;
mod state;
mod workers;
