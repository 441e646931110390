//! The metrics that OpenTelemetry's conventions for messaging have.

use std::fmt;

use jobstream::record::{ConsumerRecord, Topic};
use jobstream::sinks::Batch;
use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::registry::{Registry, Unit};

use super::{Counters, Durations, seconds};

/// An operation of messaging, and what it is done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Operation {
    name: &'static str,
    topic: Topic,
    error: Option<&'static str>,
}

impl EncodeLabelSet for Operation {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("messaging_system", "kafka").encode(encoder.encode_label())?;
        ("messaging_operation_name", self.name).encode(encoder.encode_label())?;
        ("messaging_destination_name", &*self.topic).encode(encoder.encode_label())?;
        match self.error {
            Some(error) => ("error_type", error).encode(encoder.encode_label()),
            None => Ok(()),
        }
    }
}

/// Messages that come and go, and how long one is worked on.
#[derive(Debug)]
pub(super) struct Messaging {
    consumed: Counters<Operation>,
    sent: Counters<Operation>,
    process: Durations<Operation>,
}

impl Messaging {
    pub(super) fn register(registry: &mut Registry, group: &str) -> Self {
        let messaging = Self {
            consumed: Counters::default(),
            sent: Counters::default(),
            process: Durations::new_with_constructor(seconds),
        };
        let Self { consumed, sent, process } = &messaging;
        let name = "messaging_client_sent_messages";
        registry.register(name, "Messages that brokers have acknowledged", sent.clone());
        let group = ("messaging_consumer_group_name".into(), group.to_owned().into());
        let registry = registry.sub_registry_with_label(group);
        let name = "messaging_client_consumed_messages";
        registry.register(name, "Messages that were delivered", consumed.clone());
        let (name, help) = ("messaging_process_duration", "How long an attempt at a message took");
        registry.register_with_unit(name, help, Unit::Seconds, process.clone());
        messaging
    }

    pub(super) fn consumed(&self, record: &ConsumerRecord) {
        let topic = record.partition.topic.clone();
        let operation = Operation { name: "poll", topic, error: None };
        self.consumed.get_or_create(&operation).inc();
    }

    pub(super) fn sent(&self, batch: &Batch) {
        for record in &batch.outputs {
            let operation = Operation { name: "send", topic: record.topic.clone(), error: None };
            self.sent.get_or_create(&operation).inc();
        }
    }

    pub(super) fn processed(
        &self,
        record: &ConsumerRecord,
        error: Option<&'static str>,
        seconds: f64,
    ) {
        let topic = record.partition.topic.clone();
        let operation = Operation { name: "process", topic, error };
        self.process.get_or_create(&operation).observe(seconds);
    }
}
