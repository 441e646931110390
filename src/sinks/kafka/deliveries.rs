//! Counts the delivery reports of the batches under way.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::{Notify, oneshot};

use crate::sinks::RecordMetadata;

/// Bits of a report's tag that are the record's index; the batch's number is above them.
const INDEX_BITS: u32 = 32;
const _: () = assert!(usize::BITS == 64, "a report's tag has 64 bits");

/// The place of a record that is not acknowledged yet.
const NOWHERE: RecordMetadata = RecordMetadata { partition: -1, offset: -1 };

/// The index of a record that was not published, and why.
pub(super) type Unpublished = (usize, RDKafkaErrorCode);

/// The reports of the batches under way.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    tallies: Mutex<Tallies>,
    /// Notified at a report while the queue was full.
    room: Notify,
    /// Whether the places of records are kept.
    keeps_places: bool,
}

#[derive(Debug, Default)]
struct Tallies {
    /// The number of the batch that began last.
    number: usize,
    /// The batches under way, which are few.
    open: Vec<Tally>,
    /// Whether a send waits for any report.
    is_full: bool,
}

#[derive(Debug)]
struct Tally {
    number: usize,
    awaited: usize,
    /// Notified when the last report has come.
    all: Option<oneshot::Sender<()>>,
    refusals: Vec<Unpublished>,
    /// The places by index; empty unless they are kept.
    places: Vec<RecordMetadata>,
}

impl Deliveries {
    pub(super) fn new(keeps_places: bool) -> Self {
        Self { keeps_places, ..Self::default() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Tallies) -> T) -> T {
        f(&mut self.tallies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a batch with this number of outputs.
    pub(super) fn begin(self: &Arc<Self>, outputs: usize) -> Delivery {
        let places = if self.keeps_places { vec![NOWHERE; outputs] } else { Vec::new() };
        let number = self.with(|tallies| {
            tallies.number = (tallies.number + 1) & (usize::MAX >> INDEX_BITS);
            let number = tallies.number;
            let tally = Tally { number, awaited: 0, all: None, refusals: Vec::new(), places };
            tallies.open.push(tally);
            number
        });
        Delivery { deliveries: self.clone(), number }
    }

    /// Takes a report: the place of the record, or why it was not published. Reports of cancelled
    /// batches are ignored.
    pub(super) fn report(&self, tag: usize, report: Result<RecordMetadata, RDKafkaErrorCode>) {
        let is_room = self.with(|tallies| {
            if let Some(tally) = tallies.of(tag >> INDEX_BITS) {
                tally.count(tag & (usize::MAX >> INDEX_BITS), report);
            }
            std::mem::take(&mut tallies.is_full)
        });
        if is_room {
            self.room.notify_one();
        }
    }

    /// Notes that the queue is full; [`room`](Self::room) then waits for any report.
    pub(super) fn queue_is_full(&self) {
        self.with(|tallies| tallies.is_full = true);
    }

    /// Completes at the next report after [`queue_is_full`](Self::queue_is_full).
    pub(super) async fn room(&self) {
        while self.with(|tallies| tallies.is_full) {
            self.room.notified().await;
        }
    }
}

impl Tallies {
    fn of(&mut self, number: usize) -> Option<&mut Tally> {
        self.open.iter_mut().find(|tally| tally.number == number)
    }
}

impl Tally {
    fn count(&mut self, index: usize, report: Result<RecordMetadata, RDKafkaErrorCode>) {
        match report {
            Ok(place) => self.places.get_mut(index).into_iter().for_each(|kept| *kept = place),
            Err(code) => self.refusals.push((index, code)),
        }
        self.awaited -= 1;
        if self.awaited == 0
            && let Some(all) = self.all.take()
        {
            // The sender of the records may have been cancelled.
            let _ = all.send(());
        }
    }
}

/// One batch under way. After its drop, its reports are ignored.
#[derive(Debug)]
pub(super) struct Delivery {
    deliveries: Arc<Deliveries>,
    number: usize,
}

impl Delivery {
    fn with<T>(&self, f: impl FnOnce(&mut Tally) -> T) -> T {
        self.deliveries
            .with(|tallies| f(tallies.of(self.number).expect("it is open until its drop")))
    }

    /// The tag of the report of the record with this index.
    pub(super) const fn tag(&self, index: usize) -> usize {
        self.number << INDEX_BITS | index
    }

    /// Sends some of the records, by `send`. Completes when the report of each has come, and
    /// returns the records that were not published.
    pub(super) async fn reports(
        &self,
        records: usize,
        send: impl Future<Output = ()> + Send,
    ) -> Vec<Unpublished> {
        let (all, have_come) = oneshot::channel();
        if records > 0 {
            self.with(|tally| (tally.awaited, tally.all) = (records, Some(all)));
            send.await;
            have_come.await.expect("the tally notifies before its drop");
        }
        self.with(|tally| std::mem::take(&mut tally.refusals))
    }

    /// Takes the places of the records, by index, if they are kept.
    pub(super) fn take_places(&self) -> Vec<RecordMetadata> {
        self.with(|tally| std::mem::take(&mut tally.places))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.deliveries.with(|tallies| {
            if let Some(at) = tallies.open.iter().position(|tally| tally.number == self.number) {
                tallies.open.swap_remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use futures::FutureExt as _;

    const PLACE: RecordMetadata = RecordMetadata { partition: 5, offset: 18 };

    #[test]
    fn a_report_of_a_cancelled_batch_is_ignored() {
        let deliveries = Arc::new(Deliveries::default());
        let cancelled = deliveries.begin(2).tag(1);
        let batch = deliveries.begin(1);
        let mut reports = Box::pin(batch.reports(1, ready(())));
        assert_eq!((&mut reports).now_or_never(), None);
        deliveries.report(cancelled, Ok(NOWHERE));
        assert_eq!((&mut reports).now_or_never(), None);
        deliveries.report(batch.tag(0), Err(RDKafkaErrorCode::UnknownTopic));
        assert_eq!(reports.now_or_never(), Some(vec![(0, RDKafkaErrorCode::UnknownTopic)]));
    }

    #[test]
    fn each_of_two_batches_has_its_own_reports() {
        let deliveries = Arc::new(Deliveries::new(true));
        let (first, second) = (deliveries.begin(1), deliveries.begin(1));
        let mut of_first = Box::pin(first.reports(1, ready(())));
        let mut of_second = Box::pin(second.reports(1, ready(())));
        assert_eq!((&mut of_first).now_or_never(), None);
        assert_eq!((&mut of_second).now_or_never(), None);
        deliveries.report(second.tag(0), Ok(PLACE));
        assert_eq!((&mut of_first).now_or_never(), None);
        assert_eq!(of_second.now_or_never(), Some(Vec::new()));
        assert_eq!(second.take_places(), [PLACE]);
        deliveries.report(first.tag(0), Ok(NOWHERE));
        assert_eq!(of_first.now_or_never(), Some(Vec::new()));
    }

    #[test]
    fn places_are_kept_only_if_the_configuration_asks_for_them() {
        let deliveries = Arc::new(Deliveries::default());
        let batch = deliveries.begin(1);
        let sent = async { deliveries.report(batch.tag(0), Ok(PLACE)) };
        assert_eq!(batch.reports(1, sent).now_or_never(), Some(Vec::new()));
        assert_eq!(batch.take_places(), []);
    }

    #[test]
    fn a_full_queue_waits_for_any_report() {
        let deliveries = Arc::new(Deliveries::default());
        let batch = deliveries.begin(3);
        let mut reports = Box::pin(batch.reports(3, ready(())));
        assert_eq!((&mut reports).now_or_never(), None);
        deliveries.queue_is_full();
        assert_eq!(deliveries.room().now_or_never(), None);
        deliveries.report(batch.tag(2), Ok(NOWHERE));
        assert_eq!(deliveries.room().now_or_never(), Some(()));
    }

    #[test]
    fn a_record_that_is_sent_again_has_the_place_of_its_acknowledgement() {
        let deliveries = Arc::new(Deliveries::new(true));
        let batch = deliveries.begin(2);
        let again = RecordMetadata { offset: 19, ..PLACE };
        let sent = async {
            deliveries.report(batch.tag(1), Err(RDKafkaErrorCode::UnknownTopic));
            deliveries.report(batch.tag(0), Ok(PLACE));
        };
        assert_eq!(batch.reports(2, sent).now_or_never().unwrap().len(), 1);
        let sent_again = async { deliveries.report(batch.tag(1), Ok(again)) };
        assert_eq!(batch.reports(1, sent_again).now_or_never(), Some(Vec::new()));
        assert_eq!(batch.take_places(), [PLACE, again]);
    }
}
