//! The mail executor: takes e-mail jobs from a topic, sends the mails and reports the results.

#[cfg(feature = "kafka")]
pub mod settings;
pub mod topology;
