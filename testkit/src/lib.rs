//! Tests of job sinks without Docker: an in-memory broker, a fake SMTP server, conformance suites
//! and a simulation.

pub mod broker;
pub mod conformance;
mod random;
mod script;
#[cfg(feature = "programs")]
pub mod search;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod smtp;
#[cfg(feature = "wire")]
pub mod wire;
