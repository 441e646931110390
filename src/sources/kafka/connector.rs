//! What makes the consumer of a source, and makes it anew.

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};

use super::context::{Client, SourceContext};
use super::signal::Signal;
use crate::kafka::{ConfigError, Told};

/// The properties of a consumer, and who hears of it.
pub(super) struct Connector {
    pub(super) properties: ClientConfig,
    /// Those of a client that only asks.
    pub(super) admin: ClientConfig,
    pub(super) told: Told,
    pub(super) signal: Arc<Signal>,
}

impl Connector {
    /// A consumer that has joined no group.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub(super) fn connect(&self) -> Result<Arc<Client>, ConfigError> {
        let log_level = self.properties.log_level;
        let context = SourceContext::new(self.told.clone(), self.signal.clone(), log_level);
        let mut properties = self.properties.clone();
        // librdkafka says that a topic's id has changed by a debug line of its metadata, and by
        // nothing else.
        let debug = match properties.get("debug") {
            Some(debug) if !debug.is_empty() => format!("{debug},metadata"),
            _ => "metadata".to_owned(),
        };
        properties.set("debug", debug).set_log_level(RDKafkaLogLevel::Debug);
        let mut client = Client::from_config_and_context(&properties, context)?;
        let signal = self.signal.clone();
        client.set_nonempty_callback(move || signal.raise());
        Ok(Arc::new(client))
    }
}
