//! The member's side of a rebalance: take partitions on with their committed positions, and give
//! them up once they are released.
//!
//! Every rebalance has a number. An answer belongs to the rebalance that asked for it and is not
//! given when a newer one has come: it would take the newer assignment away.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::QUERY_LIMIT;
use super::buffer::Buffer;
use super::client::{Rebalance, assign, list, unassign};
use super::membership::metadata_of;
use super::poller::{CLOSE_POLL, Poller};
use crate::kafka::KafkaEvent;
use crate::position::{Commit, Position};
use crate::record::{TopicId, TopicPartition};
use crate::sources::{Assignment, Reset, SourceError, SourceEvent};

/// Where the member is with the latest rebalance.
#[derive(Debug, Default)]
pub(super) struct Rebalancing {
    number: u64,
    open: Option<Open>,
}

/// A rebalance that has not been answered.
#[derive(Debug)]
struct Open {
    number: u64,
    partitions: Vec<TopicPartition>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// The committed positions are asked for.
    Assign,
    /// These are still worked on.
    Unassign(BTreeSet<TopicPartition>),
}

impl Rebalancing {
    fn begin(&mut self, partitions: Vec<TopicPartition>, answer: Answer) {
        self.number += 1;
        self.open = Some(Open { number: self.number, partitions, answer });
    }

    /// The rebalance that waits, unless a newer one has overtaken it.
    fn take(&mut self, is_ready: impl Fn(&Answer) -> bool) -> Option<Open> {
        let number = self.number;
        self.open.take_if(|open| open.number == number && is_ready(&open.answer))
    }
}

impl Poller {
    /// Hears what the group wants, and answers what can be answered.
    pub(super) fn rebalance(&mut self) {
        for rebalance in self.client.context().take_rebalances() {
            match rebalance {
                Rebalance::Assign(partitions) => {
                    self.rebalancing.begin(partitions, Answer::Assign);
                }
                Rebalance::Revoke(partitions) => self.revoke(partitions),
                Rebalance::Lost(partitions) => {
                    self.shared.change(|buffer| buffer.lose(&partitions));
                    self.rebalancing.begin(partitions, Answer::Unassign(BTreeSet::new()));
                }
            }
        }
        self.answer();
    }

    fn revoke(&mut self, partitions: Vec<TopicPartition>) {
        let waits_for = self.shared.change(|buffer| {
            let revoked = buffer.revoke(&partitions);
            if !revoked.is_empty() {
                buffer.notify(SourceEvent::Revoked(revoked.iter().cloned().collect()));
            }
            revoked
        });
        self.rebalancing.begin(partitions, Answer::Unassign(waits_for));
    }

    /// The records of these are finished; what was not asked back stays.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.shared.change(|buffer| {
            for partition in partitions {
                if buffer.fetches.get(partition).is_some_and(|fetch| fetch.revoked) {
                    buffer.fetches.remove(partition);
                }
            }
        });
        if let Some(Open { answer: Answer::Unassign(waits_for), .. }) = &mut self.rebalancing.open {
            waits_for.retain(|partition| !partitions.contains(partition));
        }
        self.answer();
    }

    /// Gives everything up, as if it were lost, and joins the group anew.
    pub(super) fn rejoin(&mut self) -> Result<(), SourceError> {
        self.shared.change(Buffer::lose_all);
        if let Some(Open { answer: Answer::Unassign(waits_for), .. }) = &mut self.rebalancing.open {
            waits_for.clear();
        }
        self.answer();
        self.client.unsubscribe();
        self.subscribe()
    }

    /// Leaves the topics, and gives up whatever is assigned or asked back. Rebalances that come
    /// meanwhile are answered by the context.
    ///
    /// That comes before the close because librdkafka ends no membership while it waits for the
    /// answer to an assignment, and because it drops, without a reply, what it is asked while the
    /// membership ends: an answer to a rebalance that came at that moment would block for ever.
    pub(super) fn give_up(&mut self, until: Instant) -> KafkaResult<()> {
        let client = &self.client;
        let reported = client.context().take_rebalances().pop();
        let open = self.rebalancing.open.take();
        let asked_back = match (reported, open) {
            (Some(Rebalance::Revoke(partitions) | Rebalance::Lost(partitions)), _)
            | (None, Some(Open { answer: Answer::Unassign(_), partitions, .. })) => partitions,
            (Some(Rebalance::Assign(_)), _) | (None, Some(_)) => {
                assign(client, &TopicPartitionList::new())?;
                Vec::new()
            }
            (None, None) => Vec::new(),
        };
        client.unsubscribe();
        if !asked_back.is_empty() {
            unassign(client, &list(&asked_back))?;
        }
        while Instant::now() < until {
            let is_idle = client.poll(Duration::ZERO).is_none() && !client.context().was_called();
            if is_idle && client.assignment()?.count() == 0 {
                break;
            }
            if is_idle {
                self.shared.signal.wait(CLOSE_POLL);
            }
        }
        Ok(())
    }

    fn answer(&mut self) {
        let is_ready = |answer: &Answer| match answer {
            Answer::Assign => true,
            Answer::Unassign(waits_for) => waits_for.is_empty(),
        };
        let Some(open) = self.rebalancing.take(is_ready) else { return };
        let answered = match open.answer {
            Answer::Assign => match self.assign(&open.partitions) {
                Err(error) => {
                    // Passing, such as a coordinator that moves: asked again in the next turn.
                    let reason = "the committed positions could not be read";
                    self.client.context().told.error(&error, reason);
                    self.rebalancing.open = Some(open);
                    return;
                }
                answered => answered,
            },
            Answer::Unassign(_) => {
                for partition in &open.partitions {
                    self.assigned.remove(partition);
                }
                unassign(&self.client, &list(&open.partitions))
            }
        };
        if let Err(error) = answered {
            self.client.context().told.error(&error, "a rebalance could not be answered");
        }
    }

    /// Takes partitions on where their groups' commits say.
    fn assign(&mut self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        let recreated = self.learn(partitions)?;
        let committed = self.committed(partitions)?;
        let resets = self.client.context().resets.load(Ordering::Acquire);
        let mut offsets = TopicPartitionList::new();
        let (facts, start) = (&self.facts, self.start());
        let assignments = self.shared.change(|buffer| {
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
                // The group's commit is of another topic.
                (None, Some(_)) => self.reset_offset(),
                (None, None) => Offset::Invalid,
            };
            let number = partition.partition;
            offsets.add_partition(&partition.topic, number).set_offset(offset)?;
            self.assigned.insert(partition, generation, frontier, resets);
        }
        if let Err(error) = assign(&self.client, &offsets) {
            self.client.context().told.error(&error, "a rebalance could not be answered");
        }
        self.resume(partitions);
        Ok(())
    }

    /// What the group has committed. The list that librdkafka fills is dropped here: kept, it
    /// would hold partitions, and with them the end of the consumer.
    fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> KafkaResult<Vec<(TopicPartition, Option<Commit>)>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let committed = self.client.committed_offsets(list(partitions), QUERY_LIMIT)?;
        let elements = committed.elements();
        elements.iter().try_for_each(|element| element.error())?;
        let commit = |element: &TopicPartitionListElem<'_>| {
            let partition = TopicPartition::new(element.topic(), element.partition());
            let commit = self.commit(&partition, element);
            (partition, commit)
        };
        Ok(elements.iter().map(commit).collect())
    }

    fn commit(
        &self,
        partition: &TopicPartition,
        element: &TopicPartitionListElem<'_>,
    ) -> Option<Commit> {
        let Offset::Offset(offset) = element.offset() else { return None };
        let reason = match metadata_of(element) {
            Some(metadata) => match Position::from_commit(offset, &metadata) {
                Ok(commit) => return Some(commit),
                Err(error) => error.to_string(),
            },
            None => "the commit's metadata is no UTF-8: expected a set of finished offsets".into(),
        };
        let event = KafkaEvent::ForeignMetadata { partition, reason: &reason };
        self.client.context().told.event(&event);
        Some(Commit { position: Position::at(offset), topic_id: None })
    }
}

/// The position of a commit if it was made for this topic; else why the partition begins anew.
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
