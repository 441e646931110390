//! The settings of the mail executor, beside those of every service.

mod dkim;
mod mail;
mod relays;

use std::collections::BTreeMap;

use jobstream::sinks::smtp::MailConfig;
use jobstream_service::Variables;
use jobstream_service::settings::ServiceSettings;

pub use jobstream_service::settings::{
    Delivery, JobSettings, KafkaSettings, LogFormat, LogSettings, PageSettings, ProcessSettings,
    ReadFile, SettingsError, TopicSettings,
};

use crate::service;

/// The settings of the mail server.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Where it is, and how to speak with it.
    pub mail: MailConfig,
}

impl jobstream_service::Settings for MailSettings {
    const PREFIXES: &'static [&'static str] = &["EMAIL_", "MAIL_", "SMTP_"];
    const TABLES: &'static str = include_str!("tables.md");

    fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        Ok(Self { mail: mail::read(variables)? })
    }
}

/// All settings of the service: those of every service, and the mail server's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those of every process on Kafka.
    pub process: ProcessSettings,
    /// The topics and the group.
    pub topics: TopicSettings,
    /// How jobs are worked on.
    pub job: JobSettings,
    /// Where the mail server is.
    pub mail: MailConfig,
    /// Access to the live page, and what it may show.
    pub page: PageSettings,
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
        let (settings, own) = service::settings().read_settings(environment, read)?;
        let ServiceSettings { process, topics, job, page } = settings;
        Ok(Self { process, topics, job, mail: own.mail, page })
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
        service::settings().setting_names(environment, read)
    }
}
