//! A commit's metadata on its way to and from librdkafka.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::position::PartitionPosition;

/// The metadata, if it is UTF-8: rdkafka panics where another client has committed anything else.
pub(crate) fn read(element: &TopicPartitionListElem<'_>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| element.metadata().to_owned())).ok()
}

/// The list that commits positions.
pub(crate) fn offsets(positions: &[PartitionPosition]) -> KafkaResult<TopicPartitionList> {
    let mut offsets = TopicPartitionList::new();
    for PartitionPosition { partition, position, .. } in positions {
        let mut element = offsets.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(position.frontier()))?;
        element.set_metadata(position.metadata());
    }
    Ok(offsets)
}
