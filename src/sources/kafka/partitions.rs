//! The partitions of a member. They start at the group's commits, and begin anew when their offsets
//! go back: when a log has lost its end, or a topic was created anew.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::QUERY_LIMIT;
use super::broker_facts::BrokerFacts;
use super::buffer::Chunk;
use super::client::{Client, Connector, list};
use super::membership::{Membership, metadata_of};
use super::reading::{Assigned, Continuity, Polled, Stretch};
use crate::kafka::{ConfigError, Event};
use crate::position::{Commit, Position};
use crate::record::{Generation, Topic, TopicId, TopicPartition};
use crate::sources::{Assignment, Reset, SourceEvent};

/// The partitions that are read, and what is known about their topics.
pub(super) struct Partitions {
    membership: Arc<Membership>,
    assigned: Assigned,
    facts: BrokerFacts,
    /// Where a partition that begins anew is read from.
    reset_offset: Offset,
    /// Where a partition without a commit is read from. librdkafka is not left to ask for the commit
    /// itself: if its coordinator moves meanwhile, it does not ask the new one (seen in 2.12 and 2.16).
    first_offset: Offset,
    /// How many offsets had been reset when the brokers were last asked whether topics were created
    /// anew. Resets come in bursts, one of each partition: one answer serves for all of a burst.
    asked_for_ids: Option<u64>,
    /// The same for the low watermarks, with the answer.
    low_watermarks: Option<(u64, BTreeMap<TopicPartition, i64>)>,
}

impl Partitions {
    /// No partitions yet.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn new(
        connector: &Connector,
        membership: Arc<Membership>,
    ) -> Result<Self, ConfigError> {
        let reset_offset = match connector.properties.get("auto.offset.reset") {
            Some("latest" | "largest" | "end") => Offset::End,
            _ => Offset::Beginning,
        };
        let first_offset = match connector.properties.get("auto.offset.reset") {
            // It reports that there is none.
            Some("error") => Offset::Invalid,
            _ => reset_offset,
        };
        let facts = BrokerFacts::new(connector.admin.clone(), connector.observer.clone())?;
        let assigned = Assigned::default();
        let (asked_for_ids, low_watermarks) = (None, None);
        Ok(Self {
            membership,
            assigned,
            facts,
            reset_offset,
            first_offset,
            asked_for_ids,
            low_watermarks,
        })
    }

    /// Removes partitions that were given up.
    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|partition| self.assigned.remove(partition));
    }

    /// Removes all partitions.
    pub(super) fn clear(&mut self) {
        self.assigned = Assigned::default();
    }

    /// The stretch for the next record of a partition, if the partition is read.
    pub(super) fn stretch<'a>(
        &mut self,
        polled: &'a mut Polled,
        topic: &str,
        partition: i32,
    ) -> Option<&'a mut Stretch> {
        polled.stretch(topic, partition, &mut self.assigned)
    }

    /// Takes partitions on at the group's commits, and returns the offsets to read from.
    ///
    /// # Errors
    /// If no broker answers for now.
    pub(super) fn assign(
        &mut self,
        client: &Arc<Client>,
        partitions: &[TopicPartition],
    ) -> KafkaResult<TopicPartitionList> {
        let recreated = self.learn(client, partitions)?;
        let committed = committed(client, partitions)?;
        let resets = client.context().resets.load(Ordering::Acquire);
        let mut offsets = TopicPartitionList::new();
        let (facts, start) = (&self.facts, self.start());
        let assignments = self.membership.shared().change(|buffer| {
            let assignments: Vec<_> = committed
                .into_iter()
                .map(|(partition, commit)| {
                    let topic_id = facts.topic_id(&partition.topic);
                    let generation = buffer.assign(&partition, topic_id);
                    let is_of_no_topic = commit.as_ref().is_none_or(|c| c.topic_id.is_none());
                    let (position, reset) = of_topic(commit, topic_id);
                    let before = facts.was_recreated(&partition.topic).filter(|_| is_of_no_topic);
                    let recreated = recreated.get(&partition.topic).copied().or(before);
                    let is_stale = reset.is_some() || recreated.is_some() && is_of_no_topic;
                    let position = if is_stale { start.clone() } else { position };
                    Assignment { partition, generation, position, reset: reset.or(recreated) }
                })
                .collect();
            if !assignments.is_empty() {
                buffer.notify(SourceEvent::Assigned(assignments.clone()));
            }
            assignments
        });
        for Assignment { partition, generation, position, reset } in assignments {
            let frontier = position.as_ref().map(Position::frontier);
            let offset = match (frontier, reset) {
                (Some(frontier), _) => Offset::Offset(frontier),
                // The group's commit is for another topic.
                (None, Some(_)) => self.reset_offset,
                (None, None) => self.first_offset,
            };
            let number = partition.partition;
            offsets.add_partition(&partition.topic, number).set_offset(offset)?;
            self.assigned.insert(partition, generation, frontier, resets);
        }
        Ok(offsets)
    }

    /// Checks the offsets of polled records: reports offsets that retention has removed, and lets a
    /// partition begin anew if its offsets went back.
    ///
    /// # Errors
    /// See [`read_recreated`](Self::read_recreated).
    pub(super) fn look_at(
        &mut self,
        client: &Arc<Client>,
        chunks: &mut [Chunk],
    ) -> KafkaResult<()> {
        for chunk in chunks {
            let partition = chunk[0].partition.clone();
            let mut index = 0;
            while index < chunk.len() {
                let offset = chunk[index].offset;
                let Some(generation) = self.generation_at(client, &partition, offset)? else {
                    chunk.clear();
                    break;
                };
                if generation != chunk[0].generation {
                    // The records before it, under the former generation, are dropped.
                    chunk.drain(..index);
                    index = 0;
                }
                chunk[index].generation = generation;
                index += 1;
            }
        }
        Ok(())
    }

    /// The generation for the next record of a partition; `None` if the record is dropped, since
    /// its topic is read from the start, or its partition is gone.
    fn generation_at(
        &mut self,
        client: &Arc<Client>,
        partition: &TopicPartition,
        offset: i64,
    ) -> KafkaResult<Option<Generation>> {
        let resets = client.context().resets.load(Ordering::Acquire);
        let TopicPartition { topic, partition: number } = partition;
        let Some(reading) = self.assigned.get(topic, *number) else { return Ok(None) };
        let generation = reading.generation;
        match reading.step(offset, resets) {
            Continuity::Next => Ok(Some(generation)),
            Continuity::Gap(from) => {
                self.report_truncation(client, partition, from..offset, resets);
                Ok(Some(generation))
            }
            Continuity::Back(from) => {
                // The topic may have been created anew; the next commit needs its new id.
                let recreated = self.recreated_before(client, resets);
                let is_recreated = recreated.contains_key(topic);
                self.read_anew(client, recreated)?;
                if is_recreated {
                    return Ok(None);
                }
                let reset = Reset::OffsetsWentBack { from, to: offset };
                self.begin_anew(client, partition, Some(Position::at(offset)), reset);
                let reading = self.assigned.get(topic, *number);
                Ok(reading.map(|reading| {
                    reading.step(offset, resets);
                    reading.generation
                }))
            }
        }
    }

    /// The topics that were created anew before so many offsets were reset, and are not known yet.
    fn recreated_before(&mut self, client: &Arc<Client>, resets: u64) -> BTreeMap<Topic, Reset> {
        if self.asked_for_ids.replace(resets) == Some(resets) {
            return BTreeMap::new();
        }
        let topics = self.assigned.topics().collect();
        self.facts.learn(client, topics).unwrap_or_default()
    }

    /// Reports missing offsets as truncated if the low watermark is above them.
    fn report_truncation(
        &mut self,
        client: &Client,
        partition: &TopicPartition,
        missing: Range<i64>,
        resets: u64,
    ) {
        let Range { start: from, end: to } = missing;
        let low = self.low_watermark(client, partition, resets);
        if let Some(low) = low.filter(|low| from < *low) {
            let event =
                SourceEvent::Truncated { partition: partition.clone(), from, to: low.min(to) };
            self.membership.shared().change(|buffer| buffer.notify(event));
        }
    }

    /// The low watermark of a partition when so many offsets had been reset, if the brokers answer.
    fn low_watermark(
        &mut self,
        client: &Client,
        partition: &TopicPartition,
        resets: u64,
    ) -> Option<i64> {
        let known = self.low_watermarks.take_if(|(at, _)| *at == resets);
        let (_, lows) = self.low_watermarks.insert(known.unwrap_or_else(|| {
            let asked = low_watermarks(client, &self.assigned.all());
            let lows = asked.unwrap_or_else(|error| {
                client.context().observer.error(&error, "watermarks not found");
                BTreeMap::new()
            });
            (resets, lows)
        }));
        lows.get(partition).copied()
    }

    /// Assigns a partition again under a new generation, unless it is revoked or gone. Returns
    /// whether it did.
    fn begin_anew(
        &mut self,
        client: &Client,
        partition: &TopicPartition,
        position: Option<Position>,
        reset: Reset,
    ) -> bool {
        let topic_id = self.facts.topic_id(&partition.topic);
        let frontier = position.as_ref().map(Position::frontier);
        let generation = self.membership.shared().change(|buffer| {
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
            // The topology no longer takes its records in.
            self.assigned.remove(partition);
            return false;
        };
        let resets = client.context().resets.load(Ordering::Acquire);
        self.assigned.insert(partition.clone(), generation, frontier, resets);
        true
    }

    /// Reads topics from their start that were created anew since the last call.
    ///
    /// # Errors
    /// If the seek to their start fails. A new assignment may still succeed.
    pub(super) fn read_recreated(&mut self, client: &Arc<Client>) -> KafkaResult<()> {
        let new_ids = client.context().take_new_ids();
        let recreated = match new_ids.is_empty() {
            true => self.facts.recreated(client, self.assigned.topics()),
            false => {
                let topics: BTreeSet<Topic> = self.assigned.topics().collect();
                self.facts.seen(new_ids.into_iter().filter(|(topic, _)| topics.contains(topic)))
            }
        };
        self.read_anew(client, recreated)
    }

    /// Reads topics from their start.
    fn read_anew(&mut self, client: &Client, recreated: BTreeMap<Topic, Reset>) -> KafkaResult<()> {
        if recreated.is_empty() {
            return Ok(());
        }
        let mut seek = TopicPartitionList::new();
        for (topic, reset) in recreated {
            let partitions = partitions_of(client, &topic);
            for partition in self.assigned.of_topic(&topic) {
                if partitions.is_some_and(|count| partition.partition >= count) {
                    // The new topic has fewer partitions, and the group will rebalance.
                    self.assigned.remove(&partition);
                    let lost = std::slice::from_ref(&partition);
                    self.membership.shared().change(|buffer| buffer.lose(lost));
                } else if self.begin_anew(client, &partition, self.start(), reset) {
                    let (topic, number) = (&*partition.topic, partition.partition);
                    seek.add_partition_offset(topic, number, self.reset_offset)?;
                }
            }
        }
        let sought = client.seek_partitions(seek, QUERY_LIMIT)?;
        sought.elements().iter().try_for_each(|element| element.error())
    }

    /// The position of a partition that begins anew at its start. It is committed at once, to
    /// replace a former commit that may not name its topic.
    fn start(&self) -> Option<Position> {
        (self.reset_offset == Offset::Beginning).then_some(const { Position::at(0) })
    }

    /// Asks for the topic ids of partitions that are being assigned, and for how much metadata a
    /// commit may have. Returns the topics that were created anew.
    fn learn(
        &mut self,
        client: &Arc<Client>,
        partitions: &[TopicPartition],
    ) -> KafkaResult<BTreeMap<Topic, Reset>> {
        let mut topics: Vec<Topic> = partitions.iter().map(|p| p.topic.clone()).collect();
        topics.dedup();
        let Some(topic) = topics.first().cloned() else { return Ok(BTreeMap::new()) };
        if let Some(bytes) = self.facts.metadata_limit(client, &topic)? {
            self.membership.limit_metadata(bytes);
        }
        self.facts.learn(client, topics)
    }
}

/// The low watermarks of partitions, by one question to each of their leaders.
fn low_watermarks(
    client: &Client,
    partitions: &[TopicPartition],
) -> KafkaResult<BTreeMap<TopicPartition, i64>> {
    let mut asked = TopicPartitionList::new();
    for TopicPartition { topic, partition } in partitions {
        asked.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    let answered = client.offsets_for_times(asked, QUERY_LIMIT)?;
    let low = |element: &TopicPartitionListElem<'_>| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(low)) => {
            Some((TopicPartition::new(element.topic(), element.partition()), low))
        }
        _ => None,
    };
    Ok(answered.elements().iter().filter_map(low).collect())
}

/// What the group has committed. librdkafka's list must be dropped here: it holds references to
/// partitions, with which the consumer could not end.
fn committed(
    client: &Client,
    partitions: &[TopicPartition],
) -> KafkaResult<Vec<(TopicPartition, Option<Commit>)>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let committed = client.committed_offsets(list(partitions), QUERY_LIMIT)?;
    let elements = committed.elements();
    elements.iter().try_for_each(|element| element.error())?;
    let commit = |element: &TopicPartitionListElem<'_>| {
        let partition = TopicPartition::new(element.topic(), element.partition());
        let commit = commit_in(client, &partition, element);
        (partition, commit)
    };
    Ok(elements.iter().map(commit).collect())
}

/// What the group has committed for a partition. What another client has committed is reported: its
/// metadata is ignored, and an offset that no record has counts as none.
fn commit_in(
    client: &Client,
    partition: &TopicPartition,
    element: &TopicPartitionListElem<'_>,
) -> Option<Commit> {
    let foreign = |reason: &str| {
        let event = Event::ForeignCommit { partition, reason };
        client.context().observer.event(&event);
    };
    let offset = match element.offset() {
        Offset::Invalid => return None,
        Offset::Offset(offset) if offset >= 0 => offset,
        // librdkafka has names for some negative numbers.
        found => {
            let found =
                if let Offset::Offset(found) = found { Some(found) } else { found.to_raw() };
            let found = found.map_or_else(|| "a negative offset".to_owned(), |it| it.to_string());
            foreign(&format!("found the offset {found}, expected 0 or more: it counts as none"));
            return None;
        }
    };
    let reason = match metadata_of(element) {
        Some(metadata) => match Position::from_commit(offset, &metadata) {
            Ok(commit) => return Some(commit),
            Err(error) => error.to_string(),
        },
        None => "the commit's metadata is no UTF-8: expected a set of finished offsets".into(),
    };
    foreign(&reason);
    Some(Commit { position: Position::at(offset), topic_id: None })
}

/// The position of a commit if it was made for this topic; otherwise why the partition begins anew.
fn of_topic(
    commit: Option<Commit>,
    topic_id: Option<TopicId>,
) -> (Option<Position>, Option<Reset>) {
    match commit {
        Some(Commit { topic_id: Some(was), .. }) if topic_id.is_some_and(|is| is != was) => {
            (None, topic_id.map(|is| Reset::TopicRecreated { was, is }))
        }
        Some(commit) => (Some(commit.position), None),
        None => (None, None),
    }
}

/// How many partitions a topic has, if a broker answers at once.
fn partitions_of(client: &Client, topic: &str) -> Option<i32> {
    let metadata = client.fetch_metadata(Some(topic), QUERY_LIMIT).ok()?;
    let count = metadata.topics().first()?.partitions().len();
    i32::try_from(count).ok().filter(|count| *count > 0)
}
