//! The contract of `mailjob-demo`, from outside: the program runs as people run it, and what it
//! leaves is compared with a model of the contract that shares no code with it.
//!
//! ```text
//! lines ─▶ mailjob-demo ─▶ results, dead letters, mails ─┐
//!   └────▶ model (json, tables) ─▶ fates ────────────────┴─▶ check
//! ```

mod addresses;
mod check;
mod contract;
mod dates;
mod dead_letters;
mod envelopes;
mod files;
mod interrupt;
mod job;
mod json;
mod mail;
mod mails;
mod message_ids;
mod model;
mod random;
mod results;
mod run;
mod thirty;
mod usage;
