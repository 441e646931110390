//! The settings of the service.
//!
//! ```text
//!  environment ─┐
//!  .env ────────┼─▶ variables ─▶ kafka · topics · job · mail · log · metrics · page · traces
//!  TOPICS_FILE ─┘
//! ```
//!
//! Nothing here reads the process's environment or a file by itself: both come in from outside.

mod job;
mod log;
mod mail;
mod metrics;
mod page;
mod topics;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jobstream::sinks::smtp::MailConfig;
use jobstream_service::Variables;
use jobstream_service::traces::TracesSettings;

pub use job::{Delivery, JobSettings};
pub use jobstream_service::{KafkaSettings, ReadFile, SettingsError};
pub use log::{LogFormat, LogSettings};
pub use page::PageSettings;
pub use topics::TopicSettings;

/// The prefixes of our names; one that begins so and is unknown is warned of.
const PREFIXES: [&str; 8] =
    ["EMAIL_", "JOB_", "KAFKA_", "MAIL_", "METRICS_", "PAGE_", "SMTP_", "TOPIC_"];

/// What the service is called in traces, unless a setting says it.
const SERVICE_NAME: &str = "mailjob";

/// What sets the group.
const GROUP: &str = "TOPIC_JOB_RUN_CONSUMER_GROUP_ID instead";

/// All settings of the service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where Kafka is.
    pub kafka: KafkaSettings,
    /// The topics and the group.
    pub topics: TopicSettings,
    /// How jobs are worked on.
    pub job: JobSettings,
    /// Where the mail server is.
    pub mail: MailConfig,
    /// Where metrics and health are served, if they are.
    pub metrics_address: Option<SocketAddr>,
    /// Access to the live page, and what it may show.
    pub page: PageSettings,
    /// Where traces go, if they do.
    pub traces: Option<TracesSettings>,
    /// What is odd and ends nothing, for people.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads them from the environment, then `.env`, then `TOPICS_FILE`: the first value that is
    /// not empty counts.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    pub fn read(
        environment: &BTreeMap<String, String>,
        read: ReadFile<'_>,
    ) -> Result<Self, SettingsError> {
        Self::of(&Variables::read(environment, read)?)
    }

    /// The names that [`read`](Self::read) looks for, in order: every setting there is, without
    /// the properties of Kafka that are not set.
    ///
    /// # Errors
    /// As those of `read`: nothing is looked for behind what ends it.
    pub fn names(
        environment: &BTreeMap<String, String>,
        read: ReadFile<'_>,
    ) -> Result<Vec<String>, SettingsError> {
        let variables = Variables::read(environment, read)?;
        Self::of(&variables).map(|_| variables.asked())
    }

    fn of(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let mut warnings = Vec::new();
        let mut settings = Self {
            log: LogSettings::read(variables)?,
            kafka: KafkaSettings::read(variables, GROUP)?,
            topics: TopicSettings::read(variables)?,
            job: JobSettings::read(variables)?,
            mail: mail::read(variables, &mut warnings)?,
            metrics_address: metrics::address(variables)?,
            page: PageSettings::read(variables)?,
            traces: TracesSettings::read(variables, SERVICE_NAME)?,
            warnings,
        };
        let unknown = variables.unknown(&PREFIXES);
        settings.warnings.extend(unknown.iter().map(|name| format!("{name}: unknown setting")));
        Ok(settings)
    }
}

/// What is needed to produce jobs: Kafka and the topics.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// Where Kafka is.
    pub kafka: KafkaSettings,
    /// The topics and the group.
    pub topics: TopicSettings,
}

impl ProducerSettings {
    /// Reads them from where [`Settings::read`] does; others may be wrong or missing.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    pub fn read(
        environment: &BTreeMap<String, String>,
        read: ReadFile<'_>,
    ) -> Result<Self, SettingsError> {
        let variables = Variables::read(environment, read)?;
        Ok(Self {
            kafka: KafkaSettings::read(&variables, GROUP)?,
            topics: TopicSettings::read(&variables)?,
        })
    }
}
