#![doc = include_str!("../README.md")]

pub mod codec;
#[cfg(feature = "job")]
pub mod job;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod position;
pub mod reason;
pub mod record;
pub mod sinks;
pub mod sources;
pub mod state;
pub mod topology;

/// The page on job sinks of one's own, whose code is tested with the README's.
#[cfg(doctest)]
#[doc = include_str!("../docs/writing-a-job-sink.md")]
mod writing_a_job_sink {}
