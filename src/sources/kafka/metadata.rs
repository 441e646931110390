//! A commit's metadata on its way to and from librdkafka.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::position::PartitionPosition;
use crate::record::TopicId;

/// The metadata, if it is UTF-8: rdkafka panics where another client has committed anything else.
pub(crate) fn read(element: &TopicPartitionListElem<'_>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| element.metadata().to_owned())).ok()
}

/// What is committed.
pub(crate) struct Offsets {
    pub(crate) list: TopicPartitionList,
    /// The longest metadata of it, in bytes.
    pub(crate) longest: usize,
}

/// What commits positions, each for the topic with this id, to brokers that take so many bytes of
/// metadata.
pub(super) fn offsets(
    positions: &[PartitionPosition],
    topic_ids: &[Option<TopicId>],
    limit: usize,
) -> KafkaResult<Offsets> {
    let (mut list, mut longest) = (TopicPartitionList::new(), 0);
    for (PartitionPosition { partition, position, .. }, id) in positions.iter().zip(topic_ids) {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(position.frontier()))?;
        let metadata = position.metadata(*id, limit);
        longest = longest.max(metadata.len());
        element.set_metadata(metadata);
    }
    Ok(Offsets { list, longest })
}
