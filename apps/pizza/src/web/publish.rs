//! What the desk publishes: one batch after another, until the broker has acknowledged each.

use std::sync::Arc;

use jobstream::record::{ProducerRecord, Timestamp};
use jobstream::sinks::{Batch, Sink, SinkError};
use jobstream::topology::TOO_LARGE;
use jobstream_service::traces::{Scope, Sending, Traces};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::SERVICE;
use crate::clock::WallClock;
use crate::log::log_produced;
use crate::order::{Order, OrderEvent};
use crate::order_id::OrderId;
use crate::orders::Orders;
use crate::status::Status;
use crate::topics;

/// How many records are published at once, at most.
const MAX_BATCH: usize = 100;

/// A record that is to be published.
#[derive(Debug)]
pub(super) struct Publication {
    record: ProducerRecord,
    id: OrderId,
    /// Whether it is the order itself.
    is_order: bool,
    /// To the request that waits for the broker; dropped if the record will never be published.
    acknowledged: Option<oneshot::Sender<()>>,
    /// Its span, which ends with it.
    sending: Option<Sending>,
}

impl Publication {
    /// The event of an order that was made at that time.
    pub(super) fn order(id: OrderId, order: Order, timestamp: Timestamp) -> Self {
        let event = serde_json::to_vec(&OrderEvent::new(order, timestamp));
        let event = event.unwrap_or_else(|_| unreachable!("an event is JSON"));
        Self { is_order: true, ..Self::new(id, topics::ORDERED, event) }
    }

    /// The event of a cancellation at that time.
    pub(super) fn cancellation(id: OrderId, timestamp: Timestamp) -> Self {
        let status = Status::CANCELLED.code();
        let event = format!(r#"{{"status":{status},"timestamp":{timestamp}}}"#);
        Self::new(id, topics::STATUS, event.into_bytes())
    }

    fn new(id: OrderId, topic: &'static str, value: Vec<u8>) -> Self {
        let record = ProducerRecord::to(topic).key(id.as_bytes().to_vec()).value(value);
        Self { record, id, is_order: false, acknowledged: None, sending: None }
    }

    /// The same record, with a span within `scope`, where there are traces.
    pub(super) fn traced(mut self, traces: Option<&Traces>, scope: &Scope) -> Self {
        let ProducerRecord { topic, headers, .. } = &mut self.record;
        self.sending = traces.map(|traces| traces.send(scope, topic, headers));
        self
    }

    /// The same record, and a receiver of its acknowledgement.
    pub(super) fn awaited(mut self) -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        self.acknowledged = Some(sender);
        (self, receiver)
    }
}

/// Publishes what comes, in order, until nothing more can come; then closes the sink. Ends early
/// only if the sink is broken.
pub(super) async fn run(
    mut publications: mpsc::Receiver<Publication>,
    orders: Arc<dyn Orders>,
    sink: Arc<dyn Sink>,
    now: WallClock,
) -> Result<(), SinkError> {
    let mut due = Vec::new();
    while publications.recv_many(&mut due, MAX_BATCH).await > 0 {
        for refused in publish(&*sink, &mut due).await? {
            refuse(&*orders, &refused, now()).await;
        }
        for published in due.drain(..) {
            acknowledge(&*orders, published, now()).await;
        }
    }
    sink.close().await
}

/// Publishes what is due; takes out and returns what the broker will never take.
async fn publish(
    sink: &dyn Sink,
    due: &mut Vec<Publication>,
) -> Result<Vec<Publication>, SinkError> {
    let mut refused = Vec::new();
    while !due.is_empty() {
        let outputs = due.iter().map(|publication| publication.record.clone()).collect();
        let batch = Batch { outputs, positions: Vec::new() };
        match sink.publish(&batch).await {
            Ok(published) => {
                log_produced(SERVICE, &batch.outputs, &published.places);
                break;
            }
            Err(SinkError::Aborted(reason)) => {
                warn!(service = SERVICE, reason = reason.text(), "a batch is published again");
            }
            Err(SinkError::TooLarge { outputs, others_published }) => {
                refused.extend(outputs.into_iter().rev().map(|index| due.remove(index)));
                if others_published {
                    break;
                }
            }
            Err(broken) => return Err(broken),
        }
    }
    Ok(refused)
}

/// An order that can't be published has failed; a request that waits for it learns that from the
/// drop.
async fn refuse(orders: &dyn Orders, refused: &Publication, now: Timestamp) {
    let id = refused.id;
    warn!(service = SERVICE, %id, "a record is larger than the broker takes");
    refused.sending.iter().for_each(|sending| sending.fail(TOO_LARGE));
    if refused.is_order
        && let Err(error) = orders.progress(id, Status::FAILED, now).await
    {
        warn!(service = SERVICE, %id, %error, "an order has failed, and is not marked so");
    }
}

async fn acknowledge(orders: &dyn Orders, published: Publication, now: Timestamp) {
    let id = published.id;
    if published.is_order
        && let Err(error) = orders.mark_published(id, now).await
    {
        warn!(service = SERVICE, %id, %error, "an order is published, and not marked so");
    }
    if let Some(acknowledged) = published.acknowledged {
        // The request that waited may have been dropped.
        let _ = acknowledged.send(());
    }
}
