//! The read model: what became of every order, kept by the web app and the status service, which
//! may be separate processes, and queried by the web app.
//!
//! ```text
//!  web app ── add · hold · mark_published ──▶ Orders ◀── progress · mark_lost ── status service
//!     ▲                                         │
//!     └──────── get · of_customer · changes ────┘
//! ```

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::record::Timestamp;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::customer_id::CustomerId;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::status::Status;

mod in_memory;
mod sqlite;
mod stored;

pub use in_memory::InMemoryOrders;
pub use sqlite::SqliteOrders;
pub use stored::{StoredOrder, Track};

/// How long after it was received an order may be published, that is not known to be: what is older
/// has failed. Services remember for longer which orders they have seen.
pub const PUBLISHED_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// How many changes a reader of [`Orders::changes`] may be behind before it misses some.
const CHANGES_KEPT: usize = 1024;

/// What is known of every order.
///
/// Every method is atomic, also towards other processes on the same store, and durable when it
/// completes. Cancelled, a method may have taken effect or not.
#[async_trait]
pub trait Orders: fmt::Debug + Send + Sync {
    /// Adds an order that was received at `timestamp` and is not published yet; its status is
    /// [`Status::ORDERED`].
    ///
    /// # Errors
    /// If the store can't be written. An id that the store knows, be it only from a status, is no
    /// error: see [`Added::IdTaken`].
    async fn add(
        &self,
        id: OrderId,
        order: &Order,
        timestamp: Timestamp,
    ) -> Result<Added, OrdersError>;

    /// The order of that id; `None` if none was added, even if it has a status.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn get(&self, id: OrderId) -> Result<Option<StoredOrder>, OrdersError>;

    /// The latest orders of a customer, the newest first, at most `limit`.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn of_customer(
        &self,
        customer_id: &CustomerId,
        limit: usize,
    ) -> Result<Vec<StoredOrder>, OrdersError>;

    /// Marks an order as published: the broker acknowledged it at `timestamp`, and its progress is
    /// expected from then on. Unknown ids are passed over.
    ///
    /// # Errors
    /// If the store can't be written.
    async fn mark_published(&self, id: OrderId, timestamp: Timestamp) -> Result<(), OrdersError>;

    /// The orders that were added before `before` and are not known to be published: neither marked
    /// so, nor has any service made progress with them. The oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn unpublished(&self, before: Timestamp) -> Result<Vec<StoredOrder>, OrdersError>;

    /// Holds those of the orders that are not published and that nobody else holds, and gives them
    /// in the same order: of several web apps, only the holder publishes an order.
    ///
    /// # Errors
    /// If the store can't be written.
    async fn hold(&self, ids: &[OrderId], hold: Hold) -> Result<Vec<OrderId>, OrdersError>;

    /// Takes note of a status that an event of `timestamp` has reported, by the rules of
    /// [`Progress::told`](crate::status::Progress::told), and says whether it was news: a
    /// redelivered event changes nothing. The status of an id that is not known is kept: `get` has
    /// nothing to show, but the id is taken.
    ///
    /// # Errors
    /// If the store can't be written.
    async fn progress(
        &self,
        id: OrderId,
        status: Status,
        timestamp: Timestamp,
    ) -> Result<bool, OrdersError>;

    /// The orders that are on their way and made no progress at `since` or later, the oldest first:
    /// published, and [waiting](Status::is_waiting).
    ///
    /// # Errors
    /// If the store can't be read.
    async fn overdue(&self, since: Timestamp) -> Result<Vec<OrderId>, OrdersError>;

    /// Marks an order as [`Status::LOST`] if it still is one of those that
    /// [`overdue`](Self::overdue) names, and says whether it did. A later status replaces the mark.
    ///
    /// # Errors
    /// If the store can't be written.
    async fn mark_lost(&self, id: OrderId, since: Timestamp) -> Result<bool, OrdersError>;

    /// What changes from now on, also by other processes, which are heard of within a second. The
    /// stream ends with the store. A reader that is slow misses changes, and is notified of that.
    fn changes(&self) -> BoxStream<'static, Change>;
}

/// What became of an order that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is stored.
    Stored,
    /// The store knows this id: another one is to be drawn.
    IdTaken,
}

/// The right to publish orders, for a while; its holder can renew it before that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The holder: a number that is different for every web app.
    pub holder: u64,
    /// Now, in milliseconds since 1970: what was held until then or before is free.
    pub from: Timestamp,
    /// When it is over, in milliseconds since 1970.
    pub until: Timestamp,
}

/// A change of the read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This order may look different now.
    Order(OrderId),
    /// Some changes were missed: any order may look different.
    Missed,
}

/// The store can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// SQLite says so.
    #[error("the store of orders: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was made by another version of this program.
    #[error("the store of orders: found version {found}, expected {expected}")]
    Version {
        /// The file's.
        found: i64,
        /// This program's.
        expected: i64,
    },
    /// A row holds what no version of this program writes.
    #[error("the store of orders: order '{id}' holds {found}, expected {expected}")]
    Corrupt {
        /// The order.
        id: String,
        /// What its row holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The system has no thread for the calls, or it has ended.
    #[error("the store of orders has no thread: {0}")]
    Thread(String),
}

/// The stream of a channel, in which a lag is a change like others.
fn stream(changes: broadcast::Receiver<OrderId>) -> BoxStream<'static, Change> {
    let changes = BroadcastStream::new(changes);
    changes.map(|change| change.map_or(Change::Missed, Change::Order)).boxed()
}
