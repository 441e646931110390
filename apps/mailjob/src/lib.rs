//! The mail executor: takes e-mail jobs from a topic, sends the mails and reports the results.

pub mod job_id;
pub mod metrics;
pub mod page;
pub mod resolution;
pub mod settings;
pub mod topology;
