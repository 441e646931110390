//! The watchdog of the read model: an order without progress for too long is lost.
//!
//! ```text
//!  status topology ── every second, of each partition: what time is it? ──▶ Orders::mark_lost
//! ```
//!
//! It is the punctuator of the status topology, and looks after the orders of the partitions that
//! the topology has. What time it is on a partition, its last event says. So a backlog that is
//! still being read fails nobody: its events are from the past, and the clock is, too. Before the
//! first event of an assignment nothing is known, and for as long as an order may take nothing is
//! lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobstream::record::{ProducerRecord, Timestamp};
use jobstream::topology::{Punctuation, Punctuator};
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

/// Marks orders as lost.
pub(super) struct Watchdog {
    orders: Arc<dyn Orders>,
    wall_clock: WallClock,
    patience: Duration,
}

/// The wait between two looks, in a shop of that speed.
pub(super) fn look_every(speed: Speed) -> Duration {
    speed.of(LOOK_EVERY).max(LOOK_EVERY_MIN)
}

impl Watchdog {
    /// A watchdog over these orders. On a partition without events it goes by the wall clock.
    pub(super) fn new(orders: Arc<dyn Orders>, wall_clock: WallClock, speed: Speed) -> Self {
        Self { orders, wall_clock, patience: speed.of(PATIENCE) }
    }

    /// Since when an order must have made progress; `None` as long as that can't be said.
    fn since(&self, punctuation: &Punctuation) -> Option<Timestamp> {
        let now = match punctuation.event_time {
            Some(event_time) => event_time,
            None if punctuation.assigned_for >= self.patience => (self.wall_clock)(),
            None => return None,
        };
        Some(now - i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX))
    }

    async fn look(&self, number: i32, since: Timestamp) -> Result<(), OrdersError> {
        for id in self.orders.overdue(since).await? {
            if partition(id) == number && self.orders.mark_lost(id, since).await? {
                updated(id, Status::LOST);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Punctuator for Watchdog {
    async fn punctuate(&self, punctuation: &Punctuation) -> Vec<ProducerRecord> {
        if let Some(since) = self.since(punctuation)
            && let Err(error) = self.look(punctuation.partition.partition, since).await
        {
            warn!(service = NAME, "Orders could not be looked after: {error}");
        }
        Vec::new()
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// The partition of an order, where the default partitioner places it: by CRC-32.
fn partition(id: OrderId) -> i32 {
    (crc32fast::hash(id.as_bytes()) % topics::PARTITIONS as u32) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_on_the_partition_that_its_key_is_placed_on() {
        assert_eq!(partition(OrderId::from_bits(0x3c91b)), 5);
    }
}
