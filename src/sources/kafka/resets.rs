//! Offsets that are not where they were: lost to retention, or begun anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::QUERY_LIMIT;
use super::assigned::Step;
use super::buffer::Chunk;
use super::poller::Poller;
use crate::position::Position;
use crate::reason::Reason;
use crate::record::{Generation, Topic, TopicPartition};
use crate::sources::{Assignment, Reset, SourceError, SourceEvent};

impl Poller {
    /// Looks at the offsets of what was polled: reports what retention has removed, and lets a
    /// partition begin anew whose offsets have gone back.
    pub(super) fn look_at(&mut self, chunks: &mut [Chunk]) -> Result<(), SourceError> {
        for chunk in chunks {
            let partition = chunk[0].partition.clone();
            let mut index = 0;
            while index < chunk.len() {
                let offset = chunk[index].offset;
                let Some(generation) = self.generation_at(&partition, offset)? else {
                    chunk.clear();
                    break;
                };
                if generation != chunk[0].generation {
                    // What came before it, under the generation before, counts no more.
                    chunk.drain(..index);
                    index = 0;
                }
                chunk[index].generation = generation;
                index += 1;
            }
        }
        Ok(())
    }

    /// The generation under which the next record of a partition is read; none if it is not, since
    /// its topic is read from the start, or its partition has gone.
    fn generation_at(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<Option<Generation>, SourceError> {
        let resets = self.client.context().resets.load(Ordering::Acquire);
        let TopicPartition { topic, partition: number } = partition;
        let Some(reading) = self.assigned.get(topic, *number) else { return Ok(None) };
        let generation = reading.generation;
        match reading.step(offset, resets) {
            Step::Next => Ok(Some(generation)),
            Step::Gap(from) => {
                self.report_truncation(partition, from, offset);
                Ok(Some(generation))
            }
            Step::Back(from) => {
                // The topic may be another one, whose id is wanted for what is committed next.
                let recreated = self.facts.learn(&self.client, vec![topic.clone()]);
                let recreated = recreated.unwrap_or_default();
                if !recreated.is_empty() {
                    self.read_anew(recreated)?;
                    return Ok(None);
                }
                let reset = Reset::OffsetsWentBack { from, to: offset };
                self.begin_anew(partition, Some(Position::at(offset)), reset);
                let reading = self.assigned.get(topic, *number);
                Ok(reading.map(|reading| {
                    reading.step(offset, resets);
                    reading.generation
                }))
            }
        }
    }

    /// Asks for the low watermark where offsets are missing and truncation may be the cause.
    fn report_truncation(&self, partition: &TopicPartition, from: i64, to: i64) {
        let TopicPartition { topic, partition: number } = partition;
        match self.client.fetch_watermarks(topic, *number, QUERY_LIMIT) {
            Ok((low, _)) if from < low => {
                let event =
                    SourceEvent::Truncated { partition: partition.clone(), from, to: low.min(to) };
                self.shared.change(|buffer| buffer.notify(event));
            }
            Ok(_) => {}
            Err(error) => self.client.context().told.error(&error, "watermarks not found"),
        }
    }

    /// Assigns a partition once more, under a new generation; unless it is asked back, or gone. Says
    /// whether it did.
    fn begin_anew(
        &mut self,
        partition: &TopicPartition,
        position: Option<Position>,
        reset: Reset,
    ) -> bool {
        let topic_id = self.facts.topic_id(&partition.topic);
        let frontier = position.as_ref().map(Position::frontier);
        let generation = self.shared.change(|buffer| {
            if !buffer.keeps(partition) {
                return None;
            }
            let generation = buffer.assign(partition, topic_id);
            let (partition, reset) = (partition.clone(), Some(reset));
            let assignment = Assignment { partition, generation, position, reset };
            buffer.notify(SourceEvent::Assigned(vec![assignment]));
            Some(generation)
        });
        let Some(generation) = generation else {
            // Nobody takes its records in any more.
            self.assigned.remove(partition);
            return false;
        };
        let resets = self.client.context().resets.load(Ordering::Acquire);
        self.assigned.insert(partition.clone(), generation, frontier, resets);
        true
    }

    /// Reads topics from their start that were created anew since this was last asked.
    pub(super) fn read_recreated(&mut self) -> Result<(), SourceError> {
        let new_ids = self.client.context().take_new_ids();
        let recreated = match new_ids.is_empty() {
            true => self.facts.recreated(&self.client, self.assigned.topics()),
            false => {
                let topics: BTreeSet<Topic> = self.assigned.topics().collect();
                self.facts.seen(new_ids.into_iter().filter(|(topic, _)| topics.contains(topic)))
            }
        };
        if recreated.is_empty() { Ok(()) } else { self.read_anew(recreated) }
    }

    /// Reads topics from their start.
    fn read_anew(&mut self, recreated: BTreeMap<Topic, Reset>) -> Result<(), SourceError> {
        let mut seek = TopicPartitionList::new();
        let offset = self.reset_offset();
        for (topic, reset) in recreated {
            let partitions = self.partitions_of(&topic);
            for partition in self.assigned.of_topic(&topic) {
                if partitions.is_some_and(|count| partition.partition >= count) {
                    // The topic has fewer by now, and the group will hear of that.
                    self.assigned.remove(&partition);
                    self.shared.change(|buffer| buffer.lose(std::slice::from_ref(&partition)));
                } else if self.begin_anew(&partition, self.start(), reset) {
                    let (topic, number) = (&*partition.topic, partition.partition);
                    let added = seek.add_partition_offset(topic, number, offset);
                    added.map_err(|error| SourceError::new(Reason::of(error)))?;
                }
            }
        }
        if let Err(error) = self.seek(seek) {
            // Whatever stands in the way of a seek does not stand in the way of a new assignment.
            self.client.context().told.error(&error, "a topic created anew could not be sought");
            self.rejoin()?;
        }
        Ok(())
    }

    /// How many partitions a topic has, if a broker says so at once.
    fn partitions_of(&self, topic: &str) -> Option<i32> {
        let metadata = self.client.fetch_metadata(Some(topic), QUERY_LIMIT).ok()?;
        let count = metadata.topics().first()?.partitions().len();
        i32::try_from(count).ok().filter(|count| *count > 0)
    }

    /// The position of a partition that begins anew at its start. It is committed at once, so that a
    /// commit from before, which may not say of which topic it is, counts no more.
    pub(super) fn start(&self) -> Option<Position> {
        (self.reset_offset() == Offset::Beginning).then_some(const { Position::at(0) })
    }

    fn seek(&self, offsets: TopicPartitionList) -> KafkaResult<()> {
        let sought = self.client.seek_partitions(offsets, QUERY_LIMIT)?;
        sought.elements().iter().try_for_each(|element| element.error())
    }

    /// Where a partition is read from that begins anew: its end if `auto.offset.reset` says so.
    pub(super) fn reset_offset(&self) -> Offset {
        match self.connector.properties.get("auto.offset.reset") {
            Some("latest" | "largest" | "end") => Offset::End,
            _ => Offset::Beginning,
        }
    }

    /// Asks for the ids of the topics of partitions that are assigned, and for how much metadata a
    /// commit may have. Gives the topics that are others than they were.
    pub(super) fn learn(
        &mut self,
        partitions: &[TopicPartition],
    ) -> KafkaResult<BTreeMap<Topic, Reset>> {
        let mut topics: Vec<Topic> = partitions.iter().map(|p| p.topic.clone()).collect();
        topics.dedup();
        let Some(topic) = topics.first().cloned() else { return Ok(BTreeMap::new()) };
        if let Some(bytes) = self.facts.metadata_limit(&self.client, &topic)? {
            self.membership.limit_metadata(bytes);
        }
        self.facts.learn(&self.client, topics)
    }
}
