//! The mail executor: takes e-mail jobs from a topic, sends the mails and reports the results.
//!
//! Without the feature `kafka` there is the topology and what a page shows of it, and no service.

#[cfg(feature = "kafka")]
mod check;
#[cfg(feature = "kafka")]
mod executor;
#[cfg(feature = "kafka")]
mod log;
#[cfg(feature = "kafka")]
pub mod metrics;
pub mod page;
#[cfg(feature = "kafka")]
mod server;
#[cfg(feature = "kafka")]
pub mod service;
#[cfg(feature = "kafka")]
pub mod settings;
pub mod topology;
#[cfg(feature = "kafka")]
pub mod traces;
