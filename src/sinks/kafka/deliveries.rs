//! Counts the delivery reports of a batch.

use std::sync::{Mutex, PoisonError};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Notify;

use crate::sinks::RecordMetadata;

/// Bits of a delivery's tag that are the record's index; the batch's number is above them.
const INDEX_BITS: u32 = 32;
const _: () = assert!(usize::BITS == 64, "a delivery's tag has 64 bits");

/// A record that was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// Why.
    pub(crate) code: RDKafkaErrorCode,
}

/// The reports of the batch that is under way.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    tally: Mutex<Tally>,
    /// Notified when the last report has come, or one while the queue was full.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Tally {
    /// The number of the batch; reports of older ones, which were cancelled, do not count.
    batch: usize,
    awaited: usize,
    /// Whether any report is waited for.
    is_full: bool,
    refusals: Vec<Refusal>,
    /// By index, of the outputs that are published at once, in one or more batches.
    metadata: Vec<RecordMetadata>,
}

/// Of a record that is not acknowledged yet.
const NOWHERE: RecordMetadata = RecordMetadata { partition: -1, offset: -1 };

impl Deliveries {
    fn with<T>(&self, f: impl FnOnce(&mut Tally) -> T) -> T {
        f(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a batch, and gives the tag of its first record; add the index to it.
    pub(super) fn begin(&self, records: usize) -> usize {
        self.with(|tally| {
            tally.batch = (tally.batch + 1) & (usize::MAX >> INDEX_BITS);
            tally.awaited = records;
            tally.refusals.clear();
            tally.batch << INDEX_BITS
        })
    }

    /// Forgets where records are, and makes room for so many.
    pub(super) fn expect(&self, outputs: usize) {
        self.with(|tally| {
            tally.metadata.clear();
            tally.metadata.resize(outputs, NOWHERE);
        });
    }

    /// Where the outputs are that were acknowledged since [`expect`](Self::expect), by index.
    pub(super) fn metadata(&self) -> Vec<RecordMetadata> {
        self.with(|tally| tally.metadata.clone())
    }

    /// Takes a report: where the record is, or why it was not published.
    pub(super) fn report(&self, tag: usize, report: Result<RecordMetadata, RDKafkaErrorCode>) {
        let notify = self.with(|tally| {
            if tag >> INDEX_BITS == tally.batch {
                tally.awaited -= 1;
                let index = tag & (usize::MAX >> INDEX_BITS);
                match (report, tally.metadata.get_mut(index)) {
                    (Ok(metadata), Some(place)) => *place = metadata,
                    (Ok(_), None) => {}
                    (Err(code), _) => tally.refusals.push(Refusal { index, code }),
                }
            }
            std::mem::take(&mut tally.is_full) || tally.awaited == 0
        });
        if notify {
            self.changed.notify_one();
        }
    }

    /// Says that the queue is full; [`room`](Self::room) then waits for any report.
    pub(super) fn queue_is_full(&self) {
        self.with(|tally| tally.is_full = true);
    }

    /// Completes at the next report after [`queue_is_full`](Self::queue_is_full).
    pub(super) async fn room(&self) {
        while self.with(|tally| tally.is_full) {
            self.changed.notified().await;
        }
    }

    /// Completes when every report of the batch has come.
    pub(super) async fn all(&self) -> Vec<Refusal> {
        loop {
            let all = self
                .with(|tally| (tally.awaited == 0).then(|| std::mem::take(&mut tally.refusals)));
            match all {
                Some(refusals) => return refusals,
                None => self.changed.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn a_report_of_a_cancelled_batch_does_not_count() {
        let deliveries = Deliveries::default();
        let cancelled = deliveries.begin(2);
        let tag = deliveries.begin(1);
        deliveries.report(cancelled + 1, Ok(NOWHERE));
        assert_eq!(deliveries.all().now_or_never(), None);
        deliveries.report(tag, Err(RDKafkaErrorCode::UnknownTopic));
        let refusal = Refusal { index: 0, code: RDKafkaErrorCode::UnknownTopic };
        assert_eq!(deliveries.all().now_or_never(), Some(vec![refusal]));
    }

    #[test]
    fn a_full_queue_waits_for_any_report() {
        let deliveries = Deliveries::default();
        let tag = deliveries.begin(3);
        deliveries.queue_is_full();
        assert_eq!(deliveries.room().now_or_never(), None);
        deliveries.report(tag + 2, Ok(NOWHERE));
        assert_eq!(deliveries.room().now_or_never(), Some(()));
    }

    #[test]
    fn a_record_that_is_sent_again_is_where_it_was_acknowledged() {
        let deliveries = Deliveries::default();
        deliveries.expect(2);
        let first = deliveries.begin(2);
        let place = RecordMetadata { partition: 5, offset: 18 };
        deliveries.report(first + 1, Err(RDKafkaErrorCode::UnknownTopic));
        deliveries.report(first, Ok(place));
        let again = deliveries.begin(1);
        deliveries.report(again + 1, Ok(RecordMetadata { offset: 19, ..place }));
        assert_eq!(deliveries.metadata(), [place, RecordMetadata { offset: 19, ..place }]);
    }
}
