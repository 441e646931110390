//! Test your own job sinks without Docker.

pub mod broker;
pub mod conformance;
mod random;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod smtp;
#[cfg(feature = "wire")]
pub mod wire;
