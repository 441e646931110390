//! What the applications share as services: settings from variables and files, the properties of
//! Kafka among them, output topics, signals, exit codes, what writes log lines, metrics, traces, the
//! live page, and what web pages share.
//!
//! ```text
//!  environment ─┐
//!  .env ────────┼─▶ Variables ─▶ KafkaSettings ─▶ accept ─▶ KafkaConfig
//!  TOPICS_FILE ─┘
//! ```
//!
//! Without the feature `kafka` there is no librdkafka, and nothing that only a service on Kafka needs;
//! without `otlp` there are no traces.

mod address;
mod dotenv;
mod encoding;
pub mod environment;
mod error;
mod exit;
mod ids;
pub mod json_lines;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_log;
mod log_level;
#[cfg(feature = "kafka")]
mod log_writer;
#[cfg(feature = "kafka")]
pub mod metrics;
mod names;
pub mod page;
mod plain;
#[cfg(feature = "kafka")]
mod properties;
mod signals;
#[cfg(feature = "kafka")]
mod topics;
#[cfg(feature = "otlp")]
pub mod traces;
mod variables;
pub mod web;

pub use address::Address;
pub use encoding::foreign_encoding;
pub use error::SettingsError;
pub use exit::{EXIT_ABORTED, EXIT_FAILURE, EXIT_USAGE, fail};
pub use ids::random_id;
#[cfg(feature = "kafka")]
pub use kafka::KafkaSettings;
#[cfg(feature = "kafka")]
pub use kafka_log::KafkaLog;
pub use log_level::log_level;
#[cfg(feature = "kafka")]
pub use log_writer::{Log, Writer, start_log};
pub use plain::{is_plain, json_line, one_line, without_addresses};
#[cfg(feature = "kafka")]
pub use properties::{Accepted, PropertyError, accept};
pub use signals::{SignalError, Signals};
#[cfg(feature = "kafka")]
pub use topics::{EnsureError, ensure_topic};
pub use variables::{ReadFile, Variables};
