//! The lines of what goes wrong in a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jobstream::record::TopicPartition;
use jobstream::topology::{Event, Observer};
use tracing::{debug, warn};

/// Logs what goes wrong in a run, whatever it executes.
#[derive(Clone, Debug, Default)]
pub struct RunLog {
    service: Option<&'static str>,
    /// Records that drains have cut off, and that are not logged yet: they come one by one.
    cut_off: Arc<Mutex<BTreeMap<TopicPartition, usize>>>,
}

impl RunLog {
    /// Each line has the field `service` with this name, where several services share a log.
    pub fn of(service: &'static str) -> Self {
        Self { service: Some(service), ..Self::default() }
    }

    /// The partitions whose drain is over with this event, and how many records of each it has cut off.
    fn cut_off(&self, event: &Event<'_>) -> Vec<(TopicPartition, usize)> {
        let mut cut_off = self.cut_off.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::CutOff { partition, unfinished } => {
                *cut_off.entry((*partition).clone()).or_default() += unfinished;
                Vec::new()
            }
            Event::Released(partition) | Event::Lost(partition) => {
                cut_off.remove_entry(*partition).into_iter().collect()
            }
            Event::Ended(_) => std::mem::take(&mut *cut_off).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

impl Observer for RunLog {
    fn on(&self, event: &Event<'_>) {
        let service = self.service;
        for (partition, unfinished) in self.cut_off(event) {
            let (topic, partition) = (&*partition.topic, partition.partition);
            warn!(service, topic, partition, unfinished, "Drain cut off");
        }
        match event {
            Event::Reset { partition, reset } => {
                let (topic, partition) = (&*partition.topic, partition.partition);
                warn!(service, topic, partition, %reset, "Partition begins anew, nothing of it from before counts");
            }
            Event::Truncated { partition, from, to, unfinished } if *unfinished > 0 => {
                let (topic, partition) = (&*partition.topic, partition.partition);
                warn!(
                    service,
                    topic,
                    partition,
                    from,
                    to,
                    unfinished,
                    "Retention removed records before they were read"
                );
            }
            Event::Withheld { record, topic } => {
                let (partition, offset) = (record.partition.partition, record.offset);
                warn!(
                    service,
                    topic = &*record.partition.topic,
                    partition,
                    offset,
                    "Topic '{topic}' takes not even a dead letter without value, key and headers; raise its \
                     max.message.bytes: the record waits for that"
                );
            }
            Event::PublishFailed(error) => warn!(service, %error, "Outputs are published again"),
            Event::CommitFailed(error) => warn!(service, %error, "Positions were not committed"),
            Event::CloseFailed(error) => warn!(service, error, "Not closed in time"),
            Event::Stuck { partition, offset, age } => {
                let (topic, partition) = (&*partition.topic, partition.partition);
                let age_seconds = age.as_secs();
                warn!(service, topic, partition, offset, age_seconds, "Partition stands still");
            }
            Event::Intake { open } => debug!(service, open, "Intake"),
            Event::AlreadyFinished(record) => {
                let (partition, offset) = (record.partition.partition, record.offset);
                debug!(service, partition, offset, "Record was finished by another member");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drain_cuts_off_one_by_one_is_logged_once_for_each_partition() {
        let (log, partitions) =
            (RunLog::default(), [0, 1].map(|it| TopicPartition::new("jobs", it)));
        for (partition, unfinished) in [(0, 1), (1, 1), (0, 5)] {
            let partition = &partitions[partition];
            assert!(log.cut_off(&Event::CutOff { partition, unfinished }).is_empty());
        }
        assert_eq!(log.cut_off(&Event::Released(&partitions[0])), [(partitions[0].clone(), 6)]);
        assert_eq!(log.cut_off(&Event::Lost(&partitions[1])), [(partitions[1].clone(), 1)]);
        assert_eq!(log.cut_off(&Event::Released(&partitions[0])), []);
    }
}
