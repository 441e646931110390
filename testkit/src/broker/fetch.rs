//! One step of a member's stream: what it yields next.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::task::Waker;

use jobstream::position::Position;
use jobstream::record::{ConsumerRecord, TopicId, TopicPartition};
use jobstream::sources::{Assignment, Reset, SourceError, SourceEvent};
use tokio::time::Instant;

use super::member::{Fetch, Member, MemberId, Membership, Process, Subscription};
use super::operation::{Admission, Fault, Operation, RETRY_BACKOFF};
use super::state::State;

/// Records that a stream has fetched and not yet yielded, of one partition.
pub(super) type Chunk = VecDeque<ConsumerRecord>;

pub(super) enum Next {
    Event(SourceEvent),
    /// The member is in its group.
    Joined,
    /// The chunk is filled.
    Records,
    Broken(SourceError),
    Ended,
    /// Nothing until the waker is called, or until then.
    Parked(Option<Instant>),
}

impl State {
    /// What the member's stream does next. Records that it has not yielded are read again.
    pub(super) fn step(&mut self, id: MemberId, chunk: &mut Chunk, waker: &Waker) -> Next {
        let now = Instant::now();
        self.expire_overdue(now);
        self.members[id.0].rewind(chunk);
        let step = self.next_step(id, chunk, now);
        if matches!(step, Next::Parked(_)) {
            self.parked.insert(id, waker.clone());
        }
        step
    }

    fn next_step(&mut self, id: MemberId, chunk: &mut Chunk, now: Instant) -> Next {
        let member = &mut self.members[id.0];
        if member.process != Process::Running || self.stopped {
            return Next::Parked(self.next_deadline());
        }
        if let Some(event) = member.notices.pop_front() {
            let group = self.groups.get(&member.subscription.group);
            member.apply(&event, |partition| group.and_then(|g| g.topic_id(id, partition)));
            return Next::Event(event);
        }
        if member.retry_at.is_some_and(|at| at > now) {
            return self.park(id);
        }
        member.retry_at = None;
        match member.membership {
            Membership::Left => Next::Ended,
            Membership::Outside if member.hidden_loss.is_none() => self.try_join(id, now),
            Membership::Fenced if member.hidden_loss.is_none() => Next::Broken(member.fenced()),
            Membership::Outside | Membership::Fenced | Membership::Joined(_) => {
                self.try_fetch(id, chunk, now)
            }
        }
    }

    fn try_join(&mut self, id: MemberId, now: Instant) -> Next {
        #[cfg(feature = "wire")]
        if self.wire.has_members(&self.members[id.0].subscription.group) {
            // Clients on the wire rebalance in another way: it joins when they have left.
            return self.park(id);
        }
        self.attempt(id, Operation::Join, now).unwrap_or_else(|| {
            self.join(id);
            Next::Joined
        })
    }

    /// The operation that the next step would try.
    pub(super) fn next_operation(&self, id: MemberId) -> Option<Operation> {
        let member = &self.members[id.0];
        let waits = member.process != Process::Running || self.stopped;
        let delayed = member.retry_at.is_some_and(|at| at > Instant::now());
        if waits || delayed || !member.notices.is_empty() {
            return None;
        }
        match member.membership {
            Membership::Left => None,
            Membership::Outside if member.hidden_loss.is_none() => Some(Operation::Join),
            Membership::Fenced if member.hidden_loss.is_none() => None,
            Membership::Outside | Membership::Fenced | Membership::Joined(_) => {
                self.next_readable(id).map(|_| Operation::Fetch)
            }
        }
    }

    fn try_fetch(&mut self, id: MemberId, chunk: &mut Chunk, now: Instant) -> Next {
        if self.next_readable(id).is_none() {
            return self.park(id);
        }
        if let Some(step) = self.attempt(id, Operation::Fetch, now) {
            return step;
        }
        while let Some(partition) = self.next_readable(id) {
            if let Some(event) = self.seek(id, &partition) {
                return Next::Event(event);
            }
            self.fetch(id, partition, chunk);
            if !chunk.is_empty() {
                return Next::Records;
            }
        }
        self.park(id)
    }

    /// Nothing if the operation may go on.
    fn attempt(&mut self, id: MemberId, operation: Operation, now: Instant) -> Option<Next> {
        match self.admit(operation, Some(id)) {
            Admission::Granted => None,
            Admission::Waits => Some(self.park(id)),
            Admission::Fails(Fault::Transient | Fault::Aborted) => {
                self.members[id.0].retry_at = Some(now + RETRY_BACKOFF);
                Some(self.park(id))
            }
            Admission::Fails(Fault::Fenced | Fault::Broken) => Some(Next::Broken(
                SourceError::new(format!("{operation:?} of {id} failed for good")),
            )),
        }
    }

    fn park(&self, id: MemberId) -> Next {
        Next::Parked(self.members[id.0].retry_at.into_iter().chain(self.next_deadline()).min())
    }

    /// The next partition with something to read, round and round.
    fn next_readable(&self, id: MemberId) -> Option<TopicPartition> {
        let Member { fetches, turn, subscription, .. } = &self.members[id.0];
        let readable = |(partition, fetch): &(&TopicPartition, &Fetch)| {
            !fetch.paused
                && self.log(partition).is_some_and(|log| {
                    let stays = log.start()..=log.end();
                    let is = self.topic_id(&partition.topic);
                    fetch.topic_id.is_some_and(|was| is != Some(was))
                        || !stays.contains(&fetch.next)
                        || fetch.next < log.readable_end(subscription.isolation)
                })
        };
        let after = turn.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut in_turn = fetches.range((after, Bound::Unbounded)).chain(fetches);
        in_turn.find(readable).map(|(partition, _)| partition.clone())
    }

    /// Moves an offset that is not there to the start of the log (`auto.offset.reset=earliest`),
    /// and says so if unread records are gone, or the partition begins anew.
    fn seek(&mut self, id: MemberId, partition: &TopicPartition) -> Option<SourceEvent> {
        let (start, end) = self.log(partition).map(|log| (log.start(), log.end()))?;
        let is = self.topic_id(&partition.topic)?;
        let fetch = self.members[id.0].fetches.get_mut(partition)?;
        let from = fetch.next;
        if let Some(was) = fetch.topic_id.filter(|was| *was != is) {
            let start = Some(Position::at(0));
            return self.begin_anew(id, partition, is, start, Reset::TopicRecreated { was, is });
        }
        if from > end {
            let reset = Reset::OffsetsWentBack { from, to: start };
            return self.begin_anew(id, partition, is, Some(Position::at(start)), reset);
        }
        fetch.next = from.max(start);
        let truncated = (0..start).contains(&from);
        truncated.then(|| SourceEvent::Truncated { partition: partition.clone(), from, to: start })
    }

    /// Lets a partition begin anew. A member that no longer owns it, and has not yet heard of that,
    /// reads no more of it.
    fn begin_anew(
        &mut self,
        id: MemberId,
        partition: &TopicPartition,
        topic_id: TopicId,
        position: Option<Position>,
        reset: Reset,
    ) -> Option<SourceEvent> {
        let name = &self.members[id.0].subscription.group;
        let assignment = self
            .groups
            .get_mut(name)
            .and_then(|group| group.begin_anew(id, partition, topic_id, position, reset));
        let fetches = &mut self.members[id.0].fetches;
        let Some(assignment) = assignment else {
            fetches.remove(partition);
            return None;
        };
        fetches.insert(partition.clone(), Fetch::of(&assignment, Some(topic_id)));
        Some(SourceEvent::Assigned(vec![assignment]))
    }

    fn fetch(&mut self, id: MemberId, partition: TopicPartition, chunk: &mut Chunk) {
        let Some(topic) = self.topics.get(&partition.topic) else { return };
        let log = &topic.logs[partition.partition as usize];
        let member = &mut self.members[id.0];
        let Subscription { isolation, max_poll_records, .. } = member.subscription;
        let Some(fetch) = member.fetches.get_mut(&partition) else { return };
        let generation = fetch.generation;
        fetch.next = log.read(fetch.next, isolation, max_poll_records, |offset, stored| {
            chunk.push_back(stored.at(partition.clone(), offset, generation));
        });
        member.turn = Some(partition);
    }
}

impl Fetch {
    fn of(assignment: &Assignment, topic_id: Option<TopicId>) -> Self {
        let next = assignment.position.as_ref().map_or(-1, Position::frontier);
        Self { generation: assignment.generation, next, topic_id, paused: false }
    }
}

impl Member {
    /// Why a static member that another process has replaced ends.
    fn fenced(&self) -> SourceError {
        let instance = self.subscription.instance.as_deref().unwrap_or_default();
        SourceError::new(format!(
            "group.instance.id '{instance}': another member has joined with it, expected one \
             process for each"
        ))
    }

    /// Goes back to the first record that was not yielded.
    fn rewind(&mut self, chunk: &mut Chunk) {
        self.dirty.store(false, Ordering::Release);
        if let Some(first) = chunk.front()
            && let Some(fetch) = self.fetches.get_mut(&first.partition)
        {
            fetch.next = first.offset;
        }
        chunk.clear();
    }

    /// Starts to read what is assigned, and stops to read what is asked back or lost.
    fn apply(
        &mut self,
        event: &SourceEvent,
        topic_id: impl Fn(&TopicPartition) -> Option<TopicId>,
    ) {
        match event {
            SourceEvent::Assigned(assignments) => {
                for assignment in assignments {
                    let partition = assignment.partition.clone();
                    let fetch = Fetch::of(assignment, topic_id(&partition));
                    self.fetches.insert(partition, fetch);
                }
            }
            SourceEvent::Revoked(partitions) | SourceEvent::Lost(partitions) => {
                self.fetches.retain(|partition, _| !partitions.contains(partition));
            }
            SourceEvent::Record(_) | SourceEvent::Truncated { .. } => {}
        }
    }
}
