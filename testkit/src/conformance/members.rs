//! Several members at once: polls all their streams, and keeps the events.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::BoxStream;
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ConsumerRecord, Generation, TopicPartition};
use jobstream::sources::{Assignment, Source, SourceError, SourceEvent};
use tokio::time::timeout;

use super::Backend;

/// How long a test waits before it concludes that nothing comes.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// The members of groups under test, numbered as they join. Their streams are polled whenever one
/// of the async methods is awaited.
#[derive(Default)]
pub struct Members<'a> {
    members: Vec<Member<'a>>,
    patience: Duration,
}

struct Member<'a> {
    source: &'a dyn Source,
    events: Option<BoxStream<'a, Result<SourceEvent, SourceError>>>,
    seen: Vec<SourceEvent>,
    /// Whether its stream may end with an error, and the error.
    may_break: bool,
    broken: Option<String>,
}

impl<'a> Members<'a> {
    /// No members yet.
    pub fn of<B: Backend>(backend: &B) -> Self {
        Self { members: Vec::new(), patience: backend.patience() }
    }

    /// Adds a member, and returns its number.
    pub fn join(&mut self, source: &'a dyn Source) -> usize {
        let events = Some(source.events());
        let (seen, may_break, broken) = (Vec::new(), false, None);
        self.members.push(Member { source, events, seen, may_break, broken });
        self.members.len() - 1
    }

    /// Takes an error at the end of a member's stream, at which the test would panic otherwise.
    pub fn may_break(&mut self, member: usize) {
        self.members[member].may_break = true;
    }

    /// The error with which a member's stream has ended.
    pub fn broken(&self, member: usize) -> Option<&str> {
        self.members[member].broken.as_deref()
    }

    /// Stops polling a member's stream for good.
    pub fn forget(&mut self, member: usize) {
        self.members[member].events = None;
    }

    /// Waits for a condition.
    ///
    /// # Panics
    /// If it does not hold within the backend's patience.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool + Send + Sync) {
        let patience = self.patience;
        let met = poll_fn(|cx| {
            while !condition(self) {
                if self.poll_events(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        });
        let met = timeout(patience, met).await;
        assert!(met.is_ok(), "waited {patience:?} for: {what}; seen: {self:#?}");
    }

    /// Awaits a future while the streams are polled.
    ///
    /// # Panics
    /// If it does not complete within the backend's patience.
    pub async fn during<T: Send>(&mut self, future: impl Future<Output = T> + Send) -> T {
        let patience = self.patience;
        let mut future = pin!(future);
        let both = poll_fn(|cx| {
            while self.poll_events(cx).is_ready() {}
            future.as_mut().poll(cx)
        });
        timeout(patience, both).await.unwrap_or_else(|_| panic!("no end after {patience:?}"))
    }

    /// Waits for a while in which something that must not happen could happen.
    pub async fn silence(&mut self) {
        self.during(tokio::time::sleep(SILENCE)).await;
    }

    /// Waits until each member owns this many partitions, and releases revoked ones meanwhile.
    pub async fn settle(&mut self, owned: &[usize]) {
        self.settle_until(&format!("members own {owned:?} partitions"), |members| {
            let now = (0..owned.len()).map(|member| members.owned(member).len());
            now.eq(owned.iter().copied())
        })
        .await;
    }

    /// Waits for a condition, and releases revoked partitions meanwhile.
    pub async fn settle_until(
        &mut self,
        what: &str,
        settled: impl Fn(&Self) -> bool + Send + Sync,
    ) {
        let asked = |members: &Self| {
            (0..members.members.len()).find(|&member| !members.revoked(member).is_empty())
        };
        loop {
            self.until(what, |members| asked(members).is_some() || settled(members)).await;
            let Some(member) = asked(self) else { return };
            self.release(member).await;
        }
    }

    /// Releases the revoked partitions of a member.
    ///
    /// # Panics
    /// If the source is broken.
    pub async fn release(&mut self, member: usize) {
        let source = self.members[member].source;
        let partitions = self.revoked(member);
        // A fast broker assigns them again before the call returns.
        self.members[member].seen.push(SourceEvent::Lost(partitions.clone()));
        let released = self.during(source.release(&partitions)).await;
        released.unwrap_or_else(|error| panic!("release {partitions:?}: {error}"));
    }

    /// The partitions that a member owns and that are not revoked, with the generations of their
    /// assignments.
    pub fn owned(&self, member: usize) -> BTreeMap<TopicPartition, Generation> {
        let mut owned = BTreeMap::new();
        for event in &self.members[member].seen {
            match event {
                SourceEvent::Assigned(assigned) => {
                    owned.extend(assigned.iter().map(|a| (a.partition.clone(), a.generation)));
                }
                SourceEvent::Revoked(gone) | SourceEvent::Lost(gone) => {
                    owned.retain(|partition, _| !gone.contains(partition));
                }
                SourceEvent::Record(_) | SourceEvent::Truncated { .. } => {}
            }
        }
        owned
    }

    /// The revoked partitions that a member has not released yet.
    pub fn revoked(&self, member: usize) -> Vec<TopicPartition> {
        let mut revoked: Vec<TopicPartition> = Vec::new();
        for event in &self.members[member].seen {
            match event {
                SourceEvent::Revoked(asked) => revoked.extend(asked.iter().cloned()),
                SourceEvent::Lost(gone) => revoked.retain(|partition| !gone.contains(partition)),
                _ => {}
            }
        }
        revoked
    }

    /// Everything that a member's stream has yielded; a release is recorded as `Lost`.
    pub fn seen(&self, member: usize) -> &[SourceEvent] {
        &self.members[member].seen
    }

    /// The records that a member's stream has yielded.
    pub fn records(&self, member: usize) -> Vec<&ConsumerRecord> {
        let records = self.seen(member).iter().filter_map(|event| match event {
            SourceEvent::Record(record) => Some(record),
            _ => None,
        });
        records.collect()
    }

    /// The offsets that a member's stream has yielded of a partition.
    pub fn offsets(&self, member: usize, partition: &TopicPartition) -> Vec<i64> {
        let records = self.records(member);
        records.iter().filter(|r| r.partition == *partition).map(|r| r.offset).collect()
    }

    /// The assignments that a member's stream has yielded of a partition.
    pub fn assignments(&self, member: usize, partition: &TopicPartition) -> Vec<&Assignment> {
        let assigned = self.seen(member).iter().filter_map(|event| match event {
            SourceEvent::Assigned(assignments) => Some(assignments),
            _ => None,
        });
        assigned.flatten().filter(|assignment| assignment.partition == *partition).collect()
    }

    /// The position of a partition under the member's last assignment of it.
    ///
    /// # Panics
    /// If there was none.
    pub fn position(
        &self,
        member: usize,
        partition: &TopicPartition,
        position: Position,
    ) -> PartitionPosition {
        let last = self.assignments(member, partition).pop();
        let generation = last.expect("the partition was assigned").generation;
        PartitionPosition { partition: partition.clone(), generation, position }
    }

    /// Ready when a stream has yielded an event.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for member in &mut self.members {
            let Some(events) = &mut member.events else { continue };
            match events.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(event))) => {
                    member.seen.push(event);
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Err(error))) if member.may_break => {
                    (member.events, member.broken) = (None, Some(error.to_string()));
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Err(error))) => panic!("{error}"),
                Poll::Ready(None) => member.events = None,
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

impl std::fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.members.iter().map(|member| &member.seen)).finish()
    }
}
