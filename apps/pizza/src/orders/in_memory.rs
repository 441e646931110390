//! Orders in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jobstream::record::Timestamp;
use tokio::sync::broadcast;

use super::{Added, CHANGES_KEPT, Change, Hold, Orders, OrdersError, StoredOrder, Track, stream};
use crate::customer_id::CustomerId;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::status::Status;

/// Orders that last as long as the process. It asks no clock and starts no thread.
#[derive(Debug)]
pub struct InMemoryOrders {
    rows: Mutex<BTreeMap<OrderId, Row>>,
    changes: broadcast::Sender<OrderId>,
}

#[derive(Debug)]
struct Row {
    /// The order and when it was received; `None` of an id that is only known from a status.
    order: Option<(Order, Timestamp)>,
    track: Track,
    hold: Option<Hold>,
}

impl InMemoryOrders {
    /// No orders.
    pub fn new() -> Self {
        Self { rows: Mutex::default(), changes: broadcast::channel(CHANGES_KEPT).0 }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<OrderId, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The orders for which `applies` holds, in the order in which they were received.
    fn stored(&self, applies: impl Fn(&StoredOrder) -> bool) -> Vec<StoredOrder> {
        let rows = self.rows();
        let mut orders: Vec<_> = rows.iter().filter_map(|(id, row)| row.stored(*id)).collect();
        orders.retain(applies);
        orders.sort_by_key(|order| (order.ordered_at, order.id));
        orders
    }

    /// Changes the track of an order that is known, and reports that if `change` says so.
    fn change(&self, id: OrderId, change: impl FnOnce(&mut Track) -> bool) -> bool {
        let is_changed = self.rows().get_mut(&id).is_some_and(|row| change(&mut row.track));
        if is_changed {
            self.tell(id);
        }
        is_changed
    }

    fn tell(&self, id: OrderId) {
        // Nobody may be listening.
        let _ = self.changes.send(id);
    }
}

impl Row {
    /// Holds it, if it is to be published and free; says whether it does.
    fn hold(&mut self, hold: Hold) -> bool {
        let is_anothers = |it: Hold| it.holder != hold.holder && it.until > hold.from;
        let is_free = !self.track.is_published && !self.hold.is_some_and(is_anothers);
        if is_free {
            self.hold = Some(hold);
        }
        is_free
    }

    fn stored(&self, id: OrderId) -> Option<StoredOrder> {
        let (order, ordered_at) = self.order.clone()?;
        Some(StoredOrder { id, order, ordered_at, track: self.track })
    }
}

impl Default for InMemoryOrders {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Orders for InMemoryOrders {
    async fn add(
        &self,
        id: OrderId,
        order: &Order,
        timestamp: Timestamp,
    ) -> Result<Added, OrdersError> {
        {
            let mut rows = self.rows();
            if rows.contains_key(&id) {
                return Ok(Added::IdTaken);
            }
            let order = Some((order.clone(), timestamp));
            rows.insert(id, Row { order, track: Track::received(timestamp), hold: None });
        }
        self.tell(id);
        Ok(Added::Stored)
    }

    async fn get(&self, id: OrderId) -> Result<Option<StoredOrder>, OrdersError> {
        Ok(self.rows().get(&id).and_then(|row| row.stored(id)))
    }

    async fn of_customer(
        &self,
        customer_id: &CustomerId,
        limit: usize,
    ) -> Result<Vec<StoredOrder>, OrdersError> {
        let mut orders = self.stored(|order| order.order.customer_id == *customer_id);
        orders.sort_by_key(|order| Reverse((order.ordered_at, order.id)));
        orders.truncate(limit);
        Ok(orders)
    }

    async fn mark_published(&self, id: OrderId, timestamp: Timestamp) -> Result<(), OrdersError> {
        self.change(id, |track| track.publish(timestamp));
        Ok(())
    }

    async fn unpublished(&self, before: Timestamp) -> Result<Vec<StoredOrder>, OrdersError> {
        Ok(self.stored(|order| !order.track.is_published && order.ordered_at < before))
    }

    async fn hold(&self, ids: &[OrderId], hold: Hold) -> Result<Vec<OrderId>, OrdersError> {
        let mut rows = self.rows();
        let mut holds = |id: &&OrderId| rows.get_mut(id).is_some_and(|row| row.hold(hold));
        Ok(ids.iter().filter(|id| holds(id)).copied().collect())
    }

    async fn progress(
        &self,
        id: OrderId,
        status: Status,
        timestamp: Timestamp,
    ) -> Result<bool, OrdersError> {
        let is_unknown = match self.rows().entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                let track = Track::of_event(status, timestamp);
                entry.insert(Row { order: None, track, hold: None });
                true
            }
        };
        if is_unknown {
            self.tell(id);
            return Ok(true);
        }
        Ok(self.change(id, |track| track.tell(status, timestamp)))
    }

    async fn overdue(&self, since: Timestamp) -> Result<Vec<OrderId>, OrdersError> {
        let overdue = self.stored(|order| order.track.is_overdue(since));
        Ok(overdue.iter().map(|order| order.id).collect())
    }

    async fn mark_lost(&self, id: OrderId, since: Timestamp) -> Result<bool, OrdersError> {
        Ok(self.change(id, |track| track.lose(since)))
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        stream(self.changes.subscribe())
    }
}
