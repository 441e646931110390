//! Test your own job sinks without Docker.

pub mod broker;
pub mod conformance;
pub mod smtp;
