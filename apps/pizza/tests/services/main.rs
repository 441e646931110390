//! The services on the in-memory broker, under a paused clock.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod chronology;
mod crashes;
mod events;
mod race;
mod repeats;
mod shop;
mod watchdog;
mod web_apps;
