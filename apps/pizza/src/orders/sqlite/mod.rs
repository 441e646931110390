//! Orders in a SQLite file that several processes open.
//!
//! ```text
//!                calls                      WAL
//!  SqliteOrders ───────▶ thread: Database ◀─────▶ file ◀─────▶ other processes
//!       ▲                   │  every 200 ms: has the file changed?
//!       └──── changes ◀─────┘
//! ```
//!
//! SQLite's calls block, so that they are made on a thread of their own, one after another.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jobstream::record::Timestamp;
use tokio::sync::broadcast;

use super::{Added, CHANGES_KEPT, Change, Hold, Orders, OrdersError, StoredOrder, stream};
use crate::customer_id::CustomerId;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::status::Status;

mod calls;
mod database;
mod row;
mod schema;

use calls::Calls;
use database::Database;

/// Orders in a SQLite file. Every process that opens it sees what the others do; a change is
/// durable when a method completes (`synchronous=FULL`).
///
/// Dropped, it makes the calls that were asked for, and closes the file.
pub struct SqliteOrders {
    path: PathBuf,
    calls: Calls,
    changes: broadcast::Sender<OrderId>,
}

impl SqliteOrders {
    /// Opens the file, or makes it. Blocks, for at most some seconds if another process holds it.
    ///
    /// # Errors
    /// If it can't be opened, is no database, or was made by a later version of this program.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OrdersError> {
        let path = path.into();
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let database = Database::open(&path)?;
        let calls = Calls::start(database, changes.clone())?;
        Ok(Self { path, calls, changes })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for SqliteOrders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOrders").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Orders for SqliteOrders {
    async fn add(
        &self,
        id: OrderId,
        order: &Order,
        timestamp: Timestamp,
    ) -> Result<Added, OrdersError> {
        let order = order.clone();
        self.calls.call(move |database| database.add(id, &order, timestamp)).await
    }

    async fn get(&self, id: OrderId) -> Result<Option<StoredOrder>, OrdersError> {
        self.calls.call(move |database| database.get(id)).await
    }

    async fn of_customer(
        &self,
        customer_id: &CustomerId,
        limit: usize,
    ) -> Result<Vec<StoredOrder>, OrdersError> {
        let customer_id = customer_id.clone();
        self.calls.call(move |database| database.of_customer(&customer_id, limit)).await
    }

    async fn mark_published(&self, id: OrderId, timestamp: Timestamp) -> Result<(), OrdersError> {
        let publish = move |database: &mut Database| {
            database.change(id, |track| track.publish(timestamp)).map(drop)
        };
        self.calls.call(publish).await
    }

    async fn unpublished(&self, before: Timestamp) -> Result<Vec<StoredOrder>, OrdersError> {
        self.calls.call(move |database| database.unpublished(before)).await
    }

    async fn hold(&self, ids: &[OrderId], hold: Hold) -> Result<Vec<OrderId>, OrdersError> {
        let ids = ids.to_vec();
        self.calls.call(move |database| database.hold(ids, hold)).await
    }

    async fn progress(
        &self,
        id: OrderId,
        status: Status,
        timestamp: Timestamp,
    ) -> Result<bool, OrdersError> {
        self.calls.call(move |database| database.progress(id, status, timestamp)).await
    }

    async fn overdue(&self, since: Timestamp) -> Result<Vec<OrderId>, OrdersError> {
        self.calls.call(move |database| database.overdue(since)).await
    }

    async fn mark_lost(&self, id: OrderId, since: Timestamp) -> Result<bool, OrdersError> {
        let lose = move |database: &mut Database| database.change(id, |track| track.lose(since));
        self.calls.call(lose).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        stream(self.changes.subscribe())
    }
}
