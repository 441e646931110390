//! What the applications share as services: settings from variables and files, the properties of
//! Kafka among them, output topics, signals, exit codes, what writes log lines, metrics, traces, and
//! what web pages share.
//!
//! ```text
//!  environment ─┐
//!  .env ────────┼─▶ Variables ─▶ KafkaSettings ─▶ accept ─▶ KafkaConfig
//!  TOPICS_FILE ─┘
//! ```

mod address;
mod dotenv;
mod encoding;
pub mod environment;
mod error;
mod exit;
mod ids;
mod kafka;
mod kafka_log;
mod log_level;
mod log_writer;
pub mod metrics;
mod names;
mod plain;
mod properties;
mod signals;
mod topics;
pub mod traces;
mod variables;
pub mod web;

pub use address::Address;
pub use encoding::foreign_encoding;
pub use error::SettingsError;
pub use exit::{EXIT_ABORTED, EXIT_FAILURE, EXIT_USAGE, fail};
pub use ids::random_id;
pub use kafka::KafkaSettings;
pub use kafka_log::KafkaLog;
pub use log_level::log_level;
pub use log_writer::{Log, Writer, start_log};
pub use plain::{is_plain, json_line, one_line};
pub use properties::{Accepted, PropertyError, accept};
pub use signals::{SignalError, Signals};
pub use topics::{EnsureError, ensure_topic};
pub use variables::{ReadFile, Variables};
