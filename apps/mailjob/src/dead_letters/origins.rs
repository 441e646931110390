//! The topics that dead letters came from.

use std::collections::BTreeMap;

use jobstream::kafka::TopicReader;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic};

use super::letter::{Letter, Origin};
use crate::operations::{Brokers, OperationError};

/// Asks each topic once whether it is there, and reads what a dead letter does not hold.
pub(super) struct Origins<'a> {
    brokers: &'a Brokers,
    partitions: BTreeMap<Topic, Option<usize>>,
    readers: BTreeMap<Topic, TopicReader>,
}

impl<'a> Origins<'a> {
    pub(super) const fn new(brokers: &'a Brokers) -> Self {
        Self { brokers, partitions: BTreeMap::new(), readers: BTreeMap::new() }
    }

    /// What is sent for a dead letter, or why it is passed over.
    ///
    /// It goes to the partition that it came from, where the ledger knows it and other records of
    /// its key are, whatever partitioner its producer has.
    pub(super) async fn redriven(
        &mut self,
        record: &ConsumerRecord,
    ) -> Result<Result<ProducerRecord, String>, OperationError> {
        let letter = Letter(record);
        let Some(origin) = letter.origin() else {
            return Ok(Err("it does not say where it came from".to_owned()));
        };
        let topic = &origin.partition.topic;
        if *topic == self.brokers.settings.topics.dead_letters {
            return Ok(Err(format!("it came from the dead letters: {origin}")));
        }
        let Some(partitions) = self.partitions(topic).await? else {
            return Ok(Err(format!("its topic '{topic}' does not exist")));
        };
        let partition = origin.partition.partition;
        let is_there = usize::try_from(partition).is_ok_and(|number| number < partitions);
        let mut back = match letter.is_without_value() {
            false => letter.redriven(&origin, record),
            true => {
                let found = if is_there { self.find(&origin).await? } else { None };
                match found.filter(|found| letter.was(found)) {
                    Some(found) => letter.redriven(&origin, &found),
                    None => {
                        let gone = "it has no value, and can't be read any more at its origin";
                        return Ok(Err(format!("{gone} {origin}")));
                    }
                }
            }
        };
        back.partition = is_there.then_some(partition);
        Ok(Ok(back))
    }

    async fn partitions(&mut self, topic: &Topic) -> Result<Option<usize>, OperationError> {
        if let Some(known) = self.partitions.get(topic) {
            return Ok(*known);
        }
        let found = self.brokers.partitions(topic).await?;
        self.partitions.insert(topic.clone(), found);
        Ok(found)
    }

    async fn find(&mut self, origin: &Origin) -> Result<Option<ConsumerRecord>, OperationError> {
        let topic = &origin.partition.topic;
        if !self.readers.contains_key(topic) {
            self.readers.insert(topic.clone(), self.brokers.reader(topic)?);
        }
        let reader = &self.readers[topic];
        Ok(reader.find(origin.partition.partition, origin.offset).await?)
    }
}
