//! The settings of every service.

use std::collections::BTreeMap;

use super::{
    JobSettings, KafkaSettings, PageSettings, ProcessSettings, ReadFile, Settings, SettingsError,
    TopicSettings, Variables,
};
use crate::defaults::Defaults;

/// The prefixes of the names of every service; one that begins so and is unknown is warned of.
const PREFIXES: [&str; 5] = ["JOB_", "KAFKA_", "METRICS_", "PAGE_", "TOPIC_"];

/// What sets the group.
const GROUP: &str = "TOPIC_JOB_RUN_CONSUMER_GROUP_ID instead";

/// The settings that every service has.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Those of every process on Kafka.
    pub process: ProcessSettings,
    /// The topics and the group.
    pub topics: TopicSettings,
    /// How jobs are worked on.
    pub job: JobSettings,
    /// Access to the live page, and what it may show.
    pub page: PageSettings,
}

impl ServiceSettings {
    /// Reads them, and those of the service's own, from the environment, then `.env`, then
    /// `TOPICS_FILE`: the first value that is not empty counts.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    pub(crate) fn read<S: Settings>(
        defaults: &Defaults,
        variables: &Variables<'_>,
    ) -> Result<(Self, S), SettingsError> {
        let port = defaults.metrics_port;
        let mut settings = Self {
            process: ProcessSettings::read(variables, defaults.name, GROUP, Some(port))?,
            topics: TopicSettings::read(variables, defaults)?,
            job: JobSettings::read(variables)?,
            page: PageSettings::read(variables)?,
        };
        let own = S::read(variables)?;
        let unknown = variables.unknown(&[&PREFIXES, S::PREFIXES].concat());
        let unknown = unknown.iter().map(|name| format!("{name}: unknown setting"));
        settings.process.warnings = variables.warnings().into_iter().chain(unknown).collect();
        Ok((settings, own))
    }
}

/// What is needed to produce jobs: Kafka and the topics.
#[derive(Clone, Debug)]
pub(crate) struct ProducerSettings {
    /// Where Kafka is.
    pub(crate) kafka: KafkaSettings,
    /// The topics and the group.
    pub(crate) topics: TopicSettings,
}

impl ProducerSettings {
    /// Reads them from where [`ServiceSettings::read`] does; others may be wrong or missing.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    pub(crate) fn read(
        defaults: &Defaults,
        environment: &BTreeMap<String, String>,
        read: ReadFile<'_>,
    ) -> Result<Self, SettingsError> {
        let variables = Variables::read(environment, read)?;
        Ok(Self {
            kafka: KafkaSettings::read(&variables, GROUP)?,
            topics: TopicSettings::read(&variables, defaults)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::Topics;

    #[test]
    fn jobs_are_submitted_without_settings_of_what_executes_them() {
        let environment = [("KAFKA_BROKERS".to_owned(), "a:1, b:2".to_owned())].into();
        let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let settings = ProducerSettings::read(&Defaults::new("sms"), &environment, &read);
        assert_eq!(settings.unwrap().topics.topics, Topics::default());
    }
}
