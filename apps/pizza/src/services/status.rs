//! Keeps the read model: what the web app shows of an order.

use std::sync::Arc;

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Executed, Flow, Stage, Topology};
use tracing::info;

use super::Service;
use super::event::StatusEvent;
use super::keyed::{ByOrder, Keyed};
use super::watchdog::{Watchdog, look_every};
use crate::clock::WallClock;
use crate::order_id::OrderId;
use crate::orders::Orders;
use crate::speed::Speed;
use crate::status::Status;
use crate::topics;

/// The service's name in its log.
pub const NAME: &str = "msvc_status";

/// Its consumer group.
pub const GROUP: &str = "pizza-status";

/// Takes events, and writes the statuses that they report to the read model: those of one partition
/// one after another, so that when one is written, all before it are.
pub fn topology(orders: Arc<dyn Orders>) -> Topology {
    super::builder()
        .decode(Json::<StatusEvent>::new())
        .stage(ByOrder)
        .stage(ByPartition)
        .execute(Arc::new(ReadModel { orders }))
        .ordered_by(|update: &Update| &update.partition)
        .encode(|_: &ConsumerRecord, _: Executed<Update, ()>| Ok(Vec::new()))
}

/// The service that runs it, with the watchdog as its timer.
pub fn service(orders: Arc<dyn Orders>, wall_clock: WallClock, speed: Speed) -> Service {
    let watchdog = Watchdog::new(orders.clone(), wall_clock, speed);
    let topology = topology(orders).with_punctuator(look_every(speed), Arc::new(watchdog));
    Service::new(NAME, GROUP, &[topics::STATUS], topology).idempotent()
}

/// Logs the status that an order is now shown with.
pub(super) fn updated(id: OrderId, status: Status) {
    let (label, code) = (status.label(), status.code());
    info!(service = NAME, "Order '{id}' status updated: {label} ({code})");
}

/// The status that an event reports, and where the event was read.
struct Update {
    id: OrderId,
    status: Status,
    partition: i32,
}

struct ByPartition;

impl Stage<Keyed<StatusEvent>> for ByPartition {
    type Out = Update;

    fn apply(
        &self,
        record: &ConsumerRecord,
        Keyed { id, event }: Keyed<StatusEvent>,
    ) -> Flow<Update> {
        let status = event.status.unwrap_or(Status::UNKNOWN_ORDER);
        Flow::Next(Update { id, status, partition: record.partition.partition })
    }
}

struct ReadModel {
    orders: Arc<dyn Orders>,
}

#[async_trait]
impl JobSink<Update, ()> for ReadModel {
    async fn execute(&self, update: &Update, record: &ConsumerRecord) -> Result<(), JobError> {
        let Update { id, status, .. } = *update;
        // Kafka stamps every record.
        let timestamp = record.timestamp.unwrap_or_default();
        let written = self.orders.progress(id, status, timestamp).await;
        // The store is to blame, and not the order: it is tried again for as long as it takes.
        let is_news = written.map_err(|error| JobError::unavailable(error.to_string()))?;
        if is_news {
            updated(id, status);
        }
        Ok(())
    }
}
