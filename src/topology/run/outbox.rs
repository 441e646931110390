//! The outbox: records that are done but for the publishing of their outputs, changes of the state
//! that jobs wait for, and what punctuations give.

use super::super::observe::Fate;
use super::super::stages::{Finished, MOST_REFUSALS, TOO_LARGE};
use super::jobs::JobId;
use super::punctuations::Punctuated;
use crate::position::PartitionPosition;
use crate::record::{ConsumerRecord, Generation, ProducerRecord, TopicPartition};
use crate::sinks::Batch;
use crate::state::Persist;

/// What is finished once its outputs, next in the batch, are published.
#[derive(Debug)]
pub(super) struct Item {
    subject: Subject,
    /// How many of the batch's outputs are its own.
    outputs: usize,
    /// How often one of its outputs was refused as too large.
    refusals: u8,
}

#[derive(Debug)]
pub(super) enum Subject {
    /// A record that meets its fate, without its outputs, which are in the batch.
    Record(JobId, Finished),
    /// Changes that a job waits for.
    Persist(Persist),
    /// What a punctuation of a partition has given.
    Punctuated(TopicPartition, Generation),
}

/// Items and their outputs, in the same order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    items: Vec<Item>,
    batch: Batch,
    /// How many of the items can't be made smaller.
    withheld: usize,
}

impl Item {
    /// The partition and the assignment that it belongs to.
    pub(super) fn assignment(&self) -> (&TopicPartition, Generation) {
        match &self.subject {
            Subject::Record(_, finished) => {
                (&finished.record.partition, finished.record.generation)
            }
            Subject::Persist(persist) => persist.assignment(),
            Subject::Punctuated(partition, generation) => (partition, *generation),
        }
    }

    /// The offset of the record that it finishes, if it does.
    pub(super) const fn offset(&self) -> Option<i64> {
        match &self.subject {
            Subject::Record(_, finished) => Some(finished.record.offset),
            Subject::Persist(_) | Subject::Punctuated(..) => None,
        }
    }

    /// Whether even its smallest dead letter was refused: it is published alone, since it may be
    /// refused again.
    const fn is_withheld(&self) -> bool {
        self.refusals > MOST_REFUSALS
    }

    /// Notes that an output was refused as too large; `substitute` makes the one that is published
    /// instead.
    fn refused(
        &mut self,
        refused: &[(usize, ProducerRecord)],
        substitute: impl Fn(&ConsumerRecord, u8) -> ProducerRecord,
    ) -> Option<ProducerRecord> {
        match &mut self.subject {
            Subject::Record(_, finished) => {
                self.refusals = self.refusals.saturating_add(1);
                finished.fate = Fate::DeadLettered(TOO_LARGE);
                for (_, output) in refused {
                    finished.changes.iter_mut().for_each(|changes| drop(changes.refuse(output)));
                }
                Some(substitute(&finished.record, self.refusals))
            }
            Subject::Persist(persist) => {
                refused.iter().for_each(|(_, output)| persist.refuse(output));
                None
            }
            Subject::Punctuated(..) => None,
        }
    }
}

impl Outbox {
    pub(super) const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether it holds nothing but items whose smallest dead letter was refused.
    pub(super) const fn is_withheld(&self) -> bool {
        self.items.len() == self.withheld
    }

    /// Takes out the items whose smallest dead letter was refused, or the others.
    pub(super) fn split_withheld(&mut self, withheld: bool) -> Option<Self> {
        (self.withheld > 0).then(|| self.split(|item| item.is_withheld() == withheld))
    }

    /// What is published.
    pub(super) const fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The items, in the order of their outputs.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// Takes out what is finished with the batch, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Subject> + '_ {
        self.items.drain(..).map(|item| item.subject)
    }

    /// The positions that are committed with the batch.
    pub(super) fn set_positions(&mut self, positions: Vec<PartitionPosition>) {
        self.batch.positions = positions;
    }

    pub(super) fn push(&mut self, job: JobId, mut finished: Finished) {
        let outputs = finished.outputs.len();
        self.batch.outputs.append(&mut finished.outputs);
        self.items.push(Item { subject: Subject::Record(job, finished), outputs, refusals: 0 });
    }

    pub(super) fn push_persist(&mut self, persist: Persist) {
        let before = self.batch.outputs.len();
        self.batch.outputs.extend(persist.records());
        let outputs = self.batch.outputs.len() - before;
        self.items.push(Item { subject: Subject::Persist(persist), outputs, refusals: 0 });
    }

    /// Pushes what is published before all else.
    pub(super) fn push_first(&mut self, persists: Vec<Persist>) {
        if !persists.is_empty() {
            let mut first = Self::default();
            persists.into_iter().for_each(|persist| first.push_persist(persist));
            self.put_back(first);
        }
    }

    pub(super) fn push_punctuated(&mut self, punctuated: Punctuated) {
        let Punctuated { partition, generation, outputs } = punctuated;
        let subject = Subject::Punctuated(partition, generation);
        self.items.push(Item { subject, outputs: outputs.len(), refusals: 0 });
        self.batch.outputs.extend(outputs);
    }

    /// Drops the changes that nobody waits for any more.
    pub(super) fn drop_abandoned(&mut self) {
        let is_abandoned = |item: &Item| match &item.subject {
            Subject::Persist(persist) => persist.is_abandoned(),
            Subject::Record(..) | Subject::Punctuated(..) => false,
        };
        if self.items.iter().any(is_abandoned) {
            self.take_out(is_abandoned);
        }
    }

    /// An empty one in the memory of this one, which was published.
    pub(super) fn emptied(mut self) -> Self {
        self.items.clear();
        self.withheld = 0;
        self.batch.outputs.clear();
        self.batch.positions.clear();
        self
    }

    /// Puts what was not published back before what has come since.
    pub(super) fn put_back(&mut self, mut earlier: Self) {
        earlier.items.append(&mut self.items);
        earlier.batch.outputs.append(&mut self.batch.outputs);
        earlier.batch.positions.clear();
        earlier.withheld += self.withheld;
        *self = earlier;
    }

    /// Takes out the items for which `condition` holds. Returns those of records, with their
    /// outputs; the others are dropped.
    pub(super) fn take_out(&mut self, condition: impl Fn(&Item) -> bool) -> Vec<(JobId, Finished)> {
        let Self { items, batch, .. } = self.split(condition);
        let mut outputs = batch.outputs.into_iter();
        let taken = items.into_iter().filter_map(|item| {
            let own: Vec<_> = outputs.by_ref().take(item.outputs).collect();
            let Subject::Record(job, mut finished) = item.subject else { return None };
            finished.outputs = own;
            Some((job, finished))
        });
        taken.collect()
    }

    /// Takes out the items for which `condition` holds, with their outputs.
    pub(super) fn split(&mut self, condition: impl Fn(&Item) -> bool) -> Self {
        let mut outputs = std::mem::take(&mut self.batch.outputs).into_iter();
        let mut taken = Self::default();
        for item in std::mem::take(&mut self.items) {
            let own = outputs.by_ref().take(item.outputs);
            let to = if condition(&item) { &mut taken } else { &mut *self };
            to.batch.outputs.extend(own);
            to.items.push(item);
        }
        [&mut *self, &mut taken].into_iter().for_each(Self::count_withheld);
        taken
    }

    fn count_withheld(&mut self) {
        self.withheld = self.items.iter().filter(|item| item.is_withheld()).count();
    }

    /// Replaces each record's refused outputs by one that `substitute` makes of it and the number
    /// of its refusals so far; what else is refused is dropped. If the other outputs were
    /// published, they are taken out, and the items of which nothing is left to be published are
    /// given back: they are finished.
    pub(super) fn replace_refused(
        &mut self,
        refused: &[usize],
        others_published: bool,
        substitute: impl Fn(&ConsumerRecord, u8) -> ProducerRecord,
    ) -> Vec<Subject> {
        let mut outputs = std::mem::take(&mut self.batch.outputs).into_iter().enumerate();
        let mut finished = Vec::new();
        for mut item in std::mem::take(&mut self.items) {
            let (own_refused, own): (Vec<_>, Vec<_>) = outputs
                .by_ref()
                .take(item.outputs)
                .partition(|(index, _)| refused.binary_search(index).is_ok());
            let kept = if others_published { Vec::new() } else { own };
            let before = self.batch.outputs.len();
            self.batch.outputs.extend(kept.into_iter().map(|(_, output)| output));
            if !own_refused.is_empty() {
                self.batch.outputs.extend(item.refused(&own_refused, &substitute));
            }
            item.outputs = self.batch.outputs.len() - before;
            if others_published && item.outputs == 0 {
                finished.push(item.subject);
            } else {
                self.items.push(item);
            }
        }
        self.count_withheld();
        finished
    }
}
