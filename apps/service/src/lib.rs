//! What the applications share: settings from variables and files, the properties of Kafka among
//! them, signals, and log lines of Kafka's clients.
//!
//! ```text
//!  environment ─┐
//!  .env ────────┼─▶ Variables ─▶ KafkaSettings ─▶ accept ─▶ KafkaConfig
//!  TOPICS_FILE ─┘
//! ```

mod dotenv;
mod error;
mod kafka;
mod kafka_log;
mod names;
mod properties;
mod signals;
mod variables;

pub use error::SettingsError;
pub use kafka::KafkaSettings;
pub use kafka_log::KafkaLog;
pub use properties::{Accepted, PropertyError, accept};
pub use signals::Signals;
pub use variables::{ReadFile, Variables};
