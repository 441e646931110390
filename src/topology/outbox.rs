//! The outbox: records that are done but for the publishing of their outputs.

use super::error::RunError;
use super::event::Fate;
use super::lanes::KeyHash;
use super::leftovers::Unpublished;
use super::pipeline::Finished;
use crate::record::{ConsumerRecord, ProducerRecord};
use crate::sinks::Batch;

/// An output, its dead letter without value, and that without key and headers.
const MOST_REFUSALS: u8 = 2;

/// A record whose outputs are next in the batch.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: ConsumerRecord,
    pub(super) fate: Fate,
    pub(super) lane: Option<KeyHash>,
    /// How many of the batch's outputs are its own.
    outputs: usize,
    /// How often one of its outputs was refused as too large.
    refusals: u8,
}

/// Records and their outputs, in the same order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) entries: Vec<Entry>,
    pub(super) batch: Batch,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, finished: Finished, lane: Option<KeyHash>) {
        let Finished { record, outputs, fate } = finished;
        self.entries.push(Entry { record, fate, lane, outputs: outputs.len(), refusals: 0 });
        self.batch.outputs.extend(outputs);
    }

    /// Puts what was not published back before what has come since.
    pub(super) fn put_back(&mut self, mut earlier: Self) {
        earlier.entries.append(&mut self.entries);
        earlier.batch.outputs.append(&mut self.batch.outputs);
        earlier.batch.positions.clear();
        *self = earlier;
    }

    /// Takes out the entries for which `condition` holds, with their outputs.
    pub(super) fn take_out(
        &mut self,
        condition: impl Fn(&ConsumerRecord) -> bool,
    ) -> Vec<Unpublished> {
        let mut outputs = std::mem::take(&mut self.batch.outputs).into_iter();
        let mut taken = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            let own = outputs.by_ref().take(entry.outputs);
            if condition(&entry.record) {
                let Entry { record, fate, lane, .. } = entry;
                let finished = Finished { record, outputs: own.collect(), fate };
                taken.push(Unpublished { finished, lane });
            } else {
                self.batch.outputs.extend(own);
                self.entries.push(entry);
            }
        }
        taken
    }

    /// Replaces each record's refused outputs by one that `substitute` makes of it and the number
    /// of its refusals so far. If the other outputs were published, they are dropped, and the
    /// entries without refused ones are given back: they are finished.
    ///
    /// # Errors
    /// If even a substitute without key and headers was refused.
    pub(super) fn replace_refused(
        &mut self,
        refused: &[usize],
        others_published: bool,
        substitute: impl Fn(&ConsumerRecord, u8) -> ProducerRecord,
    ) -> Result<Vec<Entry>, RunError> {
        let mut outputs = std::mem::take(&mut self.batch.outputs).into_iter().enumerate();
        let mut finished = Vec::new();
        for mut entry in std::mem::take(&mut self.entries) {
            let (own_refused, own): (Vec<_>, Vec<_>) = outputs
                .by_ref()
                .take(entry.outputs)
                .partition(|(index, _)| refused.binary_search(index).is_ok());
            let kept = if others_published { Vec::new() } else { own };
            if own_refused.is_empty() && others_published {
                finished.push(entry);
                continue;
            }
            self.batch.outputs.extend(kept.into_iter().map(|(_, output)| output));
            entry.outputs = if others_published { 0 } else { entry.outputs - own_refused.len() };
            if !own_refused.is_empty() {
                entry.refusals += 1;
                if entry.refusals > MOST_REFUSALS {
                    let ConsumerRecord { partition, offset, .. } = &entry.record;
                    return Err(RunError::DeadLetterTooLarge(format!("{partition} @ {offset}")));
                }
                entry.fate = Fate::DeadLettered(super::TOO_LARGE);
                self.batch.outputs.push(substitute(&entry.record, entry.refusals));
                entry.outputs += 1;
            }
            self.entries.push(entry);
        }
        Ok(finished)
    }
}
