//! What goes wrong between clients and the broker, on purpose.
//!
//! ```text
//!  client ── request ──▶ rules: does a fault strike? ──▶ delay · stall · cut ──▶ the API is applied
//!         ◀─ answer ───────────────────── cut · late · replaced by an error ◀────────────┘
//! ```
//!
//! A fault is an [occasion](FaultOccasion) and an [act](FaultAct). Whether it strikes depends on the
//! listener's seed and on how many requests there were, never on a clock. [`script`] has them as text.

pub mod script;

mod fault;
mod names;
mod refusals;
mod rules;
mod strike;
mod subject;

pub use fault::{FaultAct, FaultMoment, FaultOccasion, FaultPer, WireFault};
pub use rules::{WireFaultId, WireFaults};
pub use script::FaultScriptError;

pub(super) use strike::{Counts, Reply, answer, greet};
pub(super) use subject::Subject;
