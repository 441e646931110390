//! The watchdog of the read model: an order without progress for too long is lost.
//!
//! ```text
//!  topology ── Assigned · Finished · Lost ──▶ Clocks ◀── look ── watch ──▶ Orders::mark_lost
//! ```
//!
//! It runs beside the status topology, and looks after the orders of the partitions that the
//! topology has. What time it is on a partition, its last event says: the event's timestamp, and the
//! time since it was seen. So a backlog that is still being read fails nobody: its events are from
//! the past, and the clock is, too. Before the first event of an assignment nothing is known, and for
//! as long as an order may take nothing is lost.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::record::{ConsumerRecord, Timestamp, TopicPartition};
use jobstream::topology::{Event, Observer};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::status::{NAME, updated};
use crate::clock::WallClock;
use crate::order_id::OrderId;
use crate::orders::{Orders, OrdersError};
use crate::speed::Speed;
use crate::status::Status;
use crate::topics;

/// How long an order may go without progress.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// The wait between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest wait between two looks, at any speed.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);

/// Marks orders as lost; an observer of the status topology.
pub struct Watchdog {
    orders: Arc<dyn Orders>,
    wall_clock: WallClock,
    patience: Duration,
    look_every: Duration,
    clocks: Mutex<BTreeMap<i32, Clock>>,
}

/// What time it is on a partition.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// The time that it showed, in milliseconds since 1970 ...
    shown: Timestamp,
    /// ... at this moment.
    at: Instant,
    /// Before this moment nothing is lost.
    trusted_from: Instant,
}

impl Clock {
    fn now(&self, now: Instant) -> Timestamp {
        self.shown + milliseconds(now - self.at)
    }
}

impl Watchdog {
    /// A watchdog over these orders. The clock of a partition without events begins with the wall
    /// clock.
    pub fn new(orders: Arc<dyn Orders>, wall_clock: WallClock, speed: Speed) -> Self {
        Self {
            orders,
            wall_clock,
            patience: speed.of(PATIENCE),
            look_every: speed.of(LOOK_EVERY).max(LOOK_EVERY_MIN),
            clocks: Mutex::default(),
        }
    }

    /// Looks after the orders for ever. Dropping the future stops it between two looks, or in one
    /// of which the rest is left to the next.
    pub async fn watch(&self) -> Infallible {
        loop {
            sleep(self.look_every).await;
            if let Err(error) = self.look().await {
                warn!(service = NAME, "Orders could not be looked after: {error}");
            }
        }
    }

    async fn look(&self) -> Result<(), OrdersError> {
        let clocks = self.trusted();
        let Some(latest) = clocks.values().max() else { return Ok(()) };
        for id in self.orders.overdue(*latest).await? {
            let Some(since) = clocks.get(&partition(id)) else { continue };
            if self.is_ours(id) && self.orders.mark_lost(id, *since).await? {
                updated(id, Status::LOST);
            }
        }
        Ok(())
    }

    /// Of each partition whose clock is trusted, since when an order must have made progress.
    fn trusted(&self) -> BTreeMap<i32, Timestamp> {
        let now = Instant::now();
        let clocks = self.clocks();
        let trusted = clocks.iter().filter(|(_, clock)| clock.trusted_from <= now);
        let since = |clock: &Clock| clock.now(now) - milliseconds(self.patience);
        trusted.map(|(partition, clock)| (*partition, since(clock))).collect()
    }

    /// Whether the order's partition is still this member's.
    fn is_ours(&self, id: OrderId) -> bool {
        self.clocks().contains_key(&partition(id))
    }

    fn assigned(&self, partition: &TopicPartition) {
        let at = Instant::now();
        let trusted_from = at + self.patience;
        let clock = Clock { shown: (self.wall_clock)(), at, trusted_from };
        self.clocks().insert(partition.partition, clock);
    }

    fn seen(&self, record: &ConsumerRecord) {
        let at = Instant::now();
        let Some(shown) = record.timestamp else { return };
        if let Some(clock) = self.clocks().get_mut(&record.partition.partition) {
            *clock = Clock { shown, at, trusted_from: at };
        }
    }

    fn given_up(&self, partition: &TopicPartition) {
        self.clocks().remove(&partition.partition);
    }

    fn clocks(&self) -> MutexGuard<'_, BTreeMap<i32, Clock>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watchdog {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Assigned(assignment) => self.assigned(&assignment.partition),
            Event::Finished { record, .. } => self.seen(record),
            Event::Revoked(partition) | Event::Lost(partition) => self.given_up(partition),
            _ => {}
        }
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog")
            .field("patience", &self.patience)
            .field("clocks", &self.clocks())
            .finish_non_exhaustive()
    }
}

/// The partition of an order, where the default partitioner places it: by CRC-32.
fn partition(id: OrderId) -> i32 {
    (crc32fast::hash(id.as_bytes()) % topics::PARTITIONS as u32) as i32
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_on_the_partition_that_its_key_is_placed_on() {
        assert_eq!(partition(OrderId::from_bits(0x3c91b)), 5);
    }
}
