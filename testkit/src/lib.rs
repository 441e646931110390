//! Test your own job sinks without Docker.

pub mod broker;
pub mod smtp;
