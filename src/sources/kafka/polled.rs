//! What one turn of the poller has polled.

use super::assigned::{Assigned, Reading};
use super::buffer::Chunk;
use crate::record::{Generation, TopicPartition};

/// Records of one partition that came one after another.
#[derive(Debug)]
pub(super) struct Stretch {
    /// A name of its own: the count of one that two threads share moves from core to core with every
    /// record.
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    pub(super) records: Chunk,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Polled(Vec<Stretch>);

impl Polled {
    /// Where the next record of a partition goes, if it is read.
    pub(super) fn stretch(
        &mut self,
        topic: &str,
        partition: i32,
        assigned: &mut Assigned,
    ) -> Option<&mut Stretch> {
        let is_of_it = |name: &TopicPartition| name.partition == partition && *name.topic == *topic;
        if self.0.last().is_none_or(|last| !is_of_it(&last.partition)) {
            self.0.push(Stretch::of(assigned.get(topic, partition)?));
        }
        self.0.last_mut()
    }

    pub(super) fn into_chunks(self) -> Vec<Chunk> {
        self.0.into_iter().map(|stretch| stretch.records).collect()
    }
}

impl Stretch {
    fn of(Reading { partition, generation, .. }: &mut Reading) -> Self {
        let partition = TopicPartition::new(&*partition.topic, partition.partition);
        Self { partition, generation: *generation, records: Chunk::new() }
    }
}
