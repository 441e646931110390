//! The services on the in-memory broker, under a paused clock.

mod chronology;
mod crashes;
mod events;
mod race;
mod shop;
mod watchdog;
