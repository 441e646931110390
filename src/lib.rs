#![doc = include_str!("../README.md")]

pub mod codec;
pub mod job;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod position;
pub mod record;
pub mod sinks;
pub mod sources;
pub mod state;
pub mod topology;
