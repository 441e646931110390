//! The outbox: records that are done but for the publishing of their outputs, changes of the state
//! that jobs wait for, and what punctuations give.

use super::super::error::RunError;
use super::super::observe::Fate;
use super::super::stages::{Finished, TOO_LARGE};
use super::jobs::JobId;
use super::punctuations::Punctuated;
use crate::position::PartitionPosition;
use crate::record::{ConsumerRecord, Generation, ProducerRecord, TopicPartition};
use crate::sinks::Batch;
use crate::state::{Changes, Persist};

/// An output, its dead letter without value, and that without key and headers.
const MOST_REFUSALS: u8 = 2;

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
    /// A record that meets its fate.
    Record(Done),
    /// Changes that a job waits for.
    Persist(Persist),
    /// What a punctuation of a partition has given.
    Punctuated(TopicPartition, Generation),
}

/// A record that is done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) record: ConsumerRecord,
    pub(super) fate: Fate,
    pub(super) job: JobId,
    /// What becomes part of the state then.
    pub(super) changes: Option<Box<Changes>>,
}

/// Items and their outputs, in the same order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    items: Vec<Item>,
    batch: Batch,
}

impl Item {
    /// The partition and the assignment that it belongs to.
    pub(super) fn assignment(&self) -> (&TopicPartition, Generation) {
        match &self.subject {
            Subject::Record(Done { record, .. }) => (&record.partition, record.generation),
            Subject::Persist(persist) => persist.assignment(),
            Subject::Punctuated(partition, generation) => (partition, *generation),
        }
    }

    /// The offset of the record that it finishes, if it does.
    pub(super) const fn offset(&self) -> Option<i64> {
        match &self.subject {
            Subject::Record(done) => Some(done.record.offset),
            Subject::Persist(_) | Subject::Punctuated(..) => None,
        }
    }

    /// Notes that an output was refused as too large; `substitute` makes the one that is published
    /// instead.
    fn refused(
        &mut self,
        refused: &[(usize, ProducerRecord)],
        substitute: impl Fn(&ConsumerRecord, u8) -> ProducerRecord,
    ) -> Result<Option<ProducerRecord>, RunError> {
        match &mut self.subject {
            Subject::Record(done) => {
                self.refusals += 1;
                if self.refusals > MOST_REFUSALS {
                    let ConsumerRecord { partition, offset, .. } = &done.record;
                    return Err(RunError::DeadLetterTooLarge(format!("{partition} @ {offset}")));
                }
                done.fate = Fate::DeadLettered(TOO_LARGE);
                for (_, output) in refused {
                    done.changes.iter_mut().for_each(|changes| drop(changes.refuse(output)));
                }
                Ok(Some(substitute(&done.record, self.refusals)))
            }
            Subject::Persist(persist) => {
                refused.iter().for_each(|(_, output)| persist.refuse(output));
                Ok(None)
            }
            Subject::Punctuated(..) => Ok(None),
        }
    }
}

impl Outbox {
    pub(super) const fn is_empty(&self) -> bool {
        self.items.is_empty()
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

    pub(super) fn push(&mut self, job: JobId, finished: Finished) {
        let Finished { record, outputs, fate, changes } = finished;
        let subject = Subject::Record(Done { record, fate, job, changes });
        self.items.push(Item { subject, outputs: outputs.len(), refusals: 0 });
        self.batch.outputs.extend(outputs);
    }

    pub(super) fn push_persist(&mut self, persist: Persist) {
        let before = self.batch.outputs.len();
        self.batch.outputs.extend(persist.records());
        let outputs = self.batch.outputs.len() - before;
        self.items.push(Item { subject: Subject::Persist(persist), outputs, refusals: 0 });
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
            Subject::Record(_) | Subject::Punctuated(..) => false,
        };
        if self.items.iter().any(is_abandoned) {
            self.take_out(is_abandoned);
        }
    }

    /// An empty one in the memory of this one, which was published.
    pub(super) fn emptied(mut self) -> Self {
        self.items.clear();
        self.batch.outputs.clear();
        self.batch.positions.clear();
        self
    }

    /// Puts what was not published back before what has come since.
    pub(super) fn put_back(&mut self, mut earlier: Self) {
        earlier.items.append(&mut self.items);
        earlier.batch.outputs.append(&mut self.batch.outputs);
        earlier.batch.positions.clear();
        *self = earlier;
    }

    /// Takes out the items for which `condition` holds. Returns those of records, with their
    /// outputs; the others are dropped.
    pub(super) fn take_out(&mut self, condition: impl Fn(&Item) -> bool) -> Vec<(JobId, Finished)> {
        let Self { items, batch } = self.split(condition);
        let mut outputs = batch.outputs.into_iter();
        let taken = items.into_iter().filter_map(|item| {
            let outputs: Vec<_> = outputs.by_ref().take(item.outputs).collect();
            let Subject::Record(Done { record, fate, job, changes }) = item.subject else {
                return None;
            };
            Some((job, Finished { record, outputs, fate, changes }))
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
        taken
    }

    /// Replaces each record's refused outputs by one that `substitute` makes of it and the number
    /// of its refusals so far; what else is refused is dropped. If the other outputs were
    /// published, they are taken out, and the items of which nothing is left to be published are
    /// given back: they are finished.
    ///
    /// # Errors
    /// If even a substitute without key and headers was refused.
    pub(super) fn replace_refused(
        &mut self,
        refused: &[usize],
        others_published: bool,
        substitute: impl Fn(&ConsumerRecord, u8) -> ProducerRecord,
    ) -> Result<Vec<Subject>, RunError> {
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
                self.batch.outputs.extend(item.refused(&own_refused, &substitute)?);
            }
            item.outputs = self.batch.outputs.len() - before;
            if others_published && item.outputs == 0 {
                finished.push(item.subject);
            } else {
                self.items.push(item);
            }
        }
        Ok(finished)
    }
}
