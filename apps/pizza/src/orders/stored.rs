//! An order in the read model, and how it changes, the same in every store.

use jobstream::record::Timestamp;

use crate::order::Order;
use crate::order_id::OrderId;
use crate::status::{Progress, Status};

/// An order as the read model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOrder {
    /// Its id.
    pub id: OrderId,
    /// What was ordered.
    pub order: Order,
    /// When it was received, in milliseconds since 1970.
    pub ordered_at: Timestamp,
    /// What became of it.
    pub track: Track,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Where it is.
    pub progress: Progress,
    /// When it got there by itself, in milliseconds since 1970: being marked as lost is no
    /// progress.
    pub progressed_at: Timestamp,
    /// Whether the broker has the order: it acknowledged it, or a service reported a status of it.
    pub is_published: bool,
}

impl Track {
    /// Of an order that was received and is not published.
    pub(super) const fn received(timestamp: Timestamp) -> Self {
        Self { progress: Progress::NEW, progressed_at: timestamp, is_published: false }
    }

    /// Of an id that is only known from an event.
    pub(super) fn of_event(status: Status, timestamp: Timestamp) -> Self {
        let progress = Progress::NEW.told(status).unwrap_or(Progress::NEW);
        Self { progress, progressed_at: timestamp, is_published: true }
    }

    /// Takes note of what an event says, and whether that was news.
    pub(super) fn tell(&mut self, status: Status, timestamp: Timestamp) -> bool {
        let Some(progress) = self.progress.told(status) else { return false };
        let progressed_at = self.progressed_at.max(timestamp);
        // A customer may cancel what no service has seen yet.
        let is_published = self.is_published || status != Status::CANCELLED;
        *self = Self { progress, progressed_at, is_published };
        true
    }

    /// Takes note of the broker's acknowledgement, and whether that was news.
    pub(super) fn publish(&mut self, timestamp: Timestamp) -> bool {
        if self.is_published {
            return false;
        }
        self.is_published = true;
        self.progressed_at = self.progressed_at.max(timestamp);
        true
    }

    /// Whether progress was due at `since` and has not come.
    pub(super) const fn is_overdue(&self, since: Timestamp) -> bool {
        self.is_published && self.progress.status.is_waiting() && self.progressed_at < since
    }

    /// Marks it as lost if it is overdue, and says whether it did.
    pub(super) fn lose(&mut self, since: Timestamp) -> bool {
        if !self.is_overdue(since) {
            return false;
        }
        let lost = self.progress.told(Status::LOST);
        self.progress = lost.unwrap_or(self.progress);
        lost.is_some()
    }
}
