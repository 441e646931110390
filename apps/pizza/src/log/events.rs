//! The lines of a run: what is produced, and what goes wrong.

use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::RecordMetadata;
use jobstream::topology::{Event, Observer};
use jobstream_service::traces::trace_id_of;
use jobstream_service::{RunLog, is_plain};
use tracing::field::display;
use tracing::{debug, info, warn};

use crate::topics;

/// Logs what `service` has published, but not what it remembers.
pub fn log_produced(service: &'static str, outputs: &[ProducerRecord], places: &[RecordMetadata]) {
    for (record, place) in outputs.iter().zip(places) {
        if !topics::is_memory(&record.topic) {
            let produced = produced(record, *place);
            let trace_id = trace_id_of(&record.headers).map(display);
            info!(service, trace_id, "{produced}");
        }
    }
}

fn produced(record: &ProducerRecord, metadata: RecordMetadata) -> String {
    let RecordMetadata { partition, offset } = metadata;
    let (topic, key) = (&record.topic, text(record.key.as_deref()));
    let value = text(record.value.as_deref());
    format!(
        "Event successfully produced\n - Topic '{topic}', Partition #{partition}, Offset #{offset}\
         \n - Key: {key}\n - Value: {value}"
    )
}

/// Bytes on one line.
fn text(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "None".to_owned() };
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if !is_plain(c) { ' ' } else { c }).collect()
}

/// Logs what a run of a service publishes, and what goes wrong in it.
#[derive(Clone, Debug)]
pub struct ServiceLog {
    service: &'static str,
    run: RunLog,
}

impl ServiceLog {
    /// Logs for `service`.
    pub fn new(service: &'static str) -> Self {
        Self { service, run: RunLog::of(service) }
    }

    fn dead_letter(&self, record: &ConsumerRecord, reason: &str, cause: &str) {
        let (partition, offset) = (&record.partition, record.offset);
        let cause = text(Some(cause.as_bytes()));
        let trace_id = trace_id_of(&record.headers).map(display);
        warn!(
            service = self.service,
            trace_id, "Dead letter ({reason}) from {partition}, offset {offset}: {cause}"
        );
    }
}

impl Observer for ServiceLog {
    fn on(&self, event: &Event<'_>) {
        let service = self.service;
        match event {
            Event::Published { batch, places, .. } => {
                log_produced(service, &batch.outputs, places);
            }
            Event::DeadLettered { record, reason, cause } => {
                self.dead_letter(record, reason, cause);
            }
            Event::Suspended { error, .. } => warn!(service, "Waiting: {error}"),
            Event::Assigned(assignment) => debug!(service, "Assigned {}", assignment.partition),
            Event::Revoked(partition) => debug!(service, "Revoked {partition}"),
            Event::Lost(partition) => {
                debug!(service, "Lost {partition}");
                self.run.on(event);
            }
            _ => self.run.on(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_produced_is_told_with_its_place() {
        let record = ProducerRecord::to("pizza-assembled").key("3c91b").value("{\"a\":\n1}");
        let metadata = RecordMetadata { partition: 5, offset: 18 };
        let expected = "Event successfully produced\n \
                        - Topic 'pizza-assembled', Partition #5, Offset #18\n \
                        - Key: 3c91b\n - Value: {\"a\": 1}";
        assert_eq!(produced(&record, metadata), expected);
        assert!(
            produced(&ProducerRecord::to("t"), metadata).ends_with("Key: None\n - Value: None")
        );
    }
}
