//! Changes that a job waits for.
//!
//! A persist always publishes the position of its partition as well, even if the position has not
//! moved. The group fences a transaction only through the positions in it: without one, a member
//! that lost the partition long ago could still write.

use futures::channel::oneshot;

use super::{Changes, Key};
use crate::record::{Generation, ProducerRecord, TopicPartition};

/// Why changes did not become durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersistError {
    /// The broker refuses the entries of these keys as too large, and will ever do so. They are as
    /// they were before; the other changes are durable.
    #[error("{} entries are larger than the broker takes", keys.len())]
    TooLarge {
        /// The keys.
        keys: Vec<Key>,
    },
}

/// Asks for changes to be published in the next batch, with the position of the partition.
#[derive(Debug)]
pub(crate) struct Persist {
    partition: TopicPartition,
    generation: Generation,
    changes: Changes,
    refused: Vec<Key>,
    reply: oneshot::Sender<Result<(), PersistError>>,
}

impl Persist {
    pub(crate) fn new(
        (partition, generation): (TopicPartition, Generation),
        changes: Changes,
    ) -> (Self, oneshot::Receiver<Result<(), PersistError>>) {
        let (reply, answered) = oneshot::channel();
        let refused = Vec::new();
        (Self { partition, generation, changes, refused, reply }, answered)
    }

    /// The partition and the assignment of the record whose job waits.
    pub(crate) fn assignment(&self) -> (&TopicPartition, Generation) {
        (&self.partition, self.generation)
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_canceled()
    }

    /// The records that make the changes durable.
    pub(crate) fn records(&self) -> impl Iterator<Item = ProducerRecord> + '_ {
        self.changes.records()
    }

    /// Takes the change out that the broker has refused.
    pub(crate) fn refuse(&mut self, record: &ProducerRecord) {
        self.refused.extend(self.changes.refuse(record));
    }

    /// The changes are durable: they become part of the part, and the job goes on.
    pub(crate) fn complete(self) {
        self.changes.apply();
        let result = match self.refused.is_empty() {
            true => Ok(()),
            false => Err(PersistError::TooLarge { keys: self.refused }),
        };
        // The job that asked may have been dropped.
        let _ = self.reply.send(result);
    }
}
