//! The settings of a process on Kafka, whatever runs in it.

use std::net::SocketAddr;

use super::{KafkaSettings, LogSettings, SettingsError, Variables, instance_id, metrics_address};
use crate::traces::TracesSettings;

/// The settings of a process on Kafka, whatever runs in it.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where Kafka is.
    pub kafka: KafkaSettings,
    /// Names this process among live ones, and stays the same across its restarts.
    pub instance_id: Option<String>,
    /// Where metrics and health are served, if they are.
    pub metrics_address: Option<SocketAddr>,
    /// Where traces go, if they do.
    pub traces: Option<TracesSettings>,
    /// What is odd and ends nothing, for people.
    pub warnings: Vec<String>,
}

impl ProcessSettings {
    /// Reads those of the program `name`. `group` says what is to be set instead of `group.id`, and
    /// `port` is the variable with the port of metrics and health, if there is one.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    pub fn read(
        variables: &Variables<'_>,
        name: &str,
        group: &'static str,
        port: Option<&str>,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            log: LogSettings::read(variables)?,
            kafka: KafkaSettings::read(variables, group)?,
            instance_id: instance_id(variables)?,
            metrics_address: metrics_address(variables, port)?,
            traces: TracesSettings::read(variables, name)?,
            warnings: variables.warnings(),
        })
    }
}
