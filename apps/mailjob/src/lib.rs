//! The mail executor: takes e-mail jobs from a topic, sends the mails and reports the results.
//!
//! Without the feature `kafka` there is the topology and what a page shows of it, and no service.

pub mod job_id;
#[cfg(feature = "kafka")]
pub mod metrics;
pub mod page;
pub mod resolution;
#[cfg(all(feature = "kafka", feature = "otlp"))]
pub mod settings;
pub mod topology;
#[cfg(feature = "otlp")]
pub mod traces;
