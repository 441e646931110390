//! Settings: of every service, and where those of one's own are read from.
//!
//! ```text
//!  environment ─┐              ┌─▶ log · kafka · topics · job · metrics · page · traces
//!  .env ────────┼─▶ Variables ─┤
//!  TOPICS_FILE ─┘              └─▶ the service's own (Settings)
//! ```
//!
//! Nothing here reads the process's environment or a file by itself: both come in from outside.

mod address;
mod dotenv;
mod encoding;
mod error;
#[cfg(feature = "kafka")]
mod instance;
#[cfg(feature = "run")]
mod job;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod level;
#[cfg(feature = "kafka")]
mod log;
#[cfg(feature = "kafka")]
mod metrics;
#[cfg(feature = "kafka")]
mod names;
#[cfg(feature = "run")]
mod page;
#[cfg(feature = "kafka")]
mod process;
#[cfg(feature = "kafka")]
mod properties;
#[cfg(feature = "run")]
mod service;
#[cfg(feature = "run")]
mod tables;
#[cfg(feature = "run")]
mod topics;
mod variables;

#[cfg(feature = "run")]
pub use crate::Delivery;
pub use address::Address;
#[cfg(feature = "run")]
pub(crate) use encoding::foreign_encoding;
pub use error::SettingsError;
#[cfg(feature = "kafka")]
use instance::instance_id;
#[cfg(feature = "run")]
pub use job::JobSettings;
#[cfg(feature = "kafka")]
pub use kafka::KafkaSettings;
#[cfg(feature = "kafka")]
use level::log_level;
#[cfg(feature = "kafka")]
pub use log::{LogFormat, LogSettings};
#[cfg(feature = "kafka")]
use metrics::metrics_address;
#[cfg(feature = "run")]
pub use page::PageSettings;
#[cfg(feature = "kafka")]
pub use process::ProcessSettings;
#[cfg(feature = "kafka")]
pub use properties::{Accepted, PropertyError, accept};
#[cfg(feature = "run")]
pub(crate) use service::ProducerSettings;
#[cfg(feature = "run")]
pub use service::ServiceSettings;
#[cfg(feature = "run")]
pub(crate) use tables::{rows, tables};
#[cfg(feature = "run")]
pub use topics::TopicSettings;
pub use variables::{ReadFile, Variables};

/// The settings that a service has beside those of every service.
pub trait Settings: Sized + Send + Sync + 'static {
    /// How their names begin: one that begins so and is unknown is warned of.
    const PREFIXES: &'static [&'static str];
    /// What they are, for `settings --markdown`: tables in Markdown, each below its title, with the
    /// columns `setting`, `default`, `takes`, `unit` and `what it is`.
    const TABLES: &'static str;

    /// Reads them.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    fn read(variables: &Variables<'_>) -> Result<Self, SettingsError>;
}

/// A service without settings of its own.
impl Settings for () {
    const PREFIXES: &'static [&'static str] = &[];
    const TABLES: &'static str = "";

    fn read(_: &Variables<'_>) -> Result<Self, SettingsError> {
        Ok(())
    }
}
