//! What every handler has.

use std::sync::Arc;

use jobstream::record::Timestamp;
use jobstream_service::web::{Limits, Quota, Streams};
use tokio::sync::watch;

use super::Surroundings;
use super::desk::Desk;
use super::error::PageError;
use super::name::Name;
use crate::orders::Orders;

/// How many streams of events one customer has open at once, at most.
const MAX_STREAMS_OF_CUSTOMER: usize = 16;

/// How many orders and cancellations of one customer are taken in a minute, at most.
const MAX_ORDERS_IN_A_MINUTE: u32 = 20;

/// The shop as its handlers see it; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    pub(super) orders: Arc<dyn Orders>,
    pub(super) desk: Desk,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) streams: Streams<Name>,
    /// What customers have ordered and cancelled.
    taken: Arc<Quota<Name>>,
}

impl Shop {
    /// A shop that closes its streams when `stopped` turns true.
    pub(super) fn new(
        orders: Arc<dyn Orders>,
        desk: Desk,
        surroundings: Surroundings,
        limits: Limits,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let streams = Streams::new(limits.streams(), MAX_STREAMS_OF_CUSTOMER, stopped);
        let taken = Arc::new(Quota::new(MAX_ORDERS_IN_A_MINUTE));
        Self { orders, desk, surroundings: Arc::new(surroundings), streams, taken }
    }

    /// Counts an order or a cancellation of a customer.
    ///
    /// # Errors
    /// If the customer has had as many as a minute has.
    pub(super) fn count_order(&self, customer: &Name) -> Result<(), PageError> {
        match self.taken.wait(customer) {
            Some(wait) => Err(PageError::Hasty(wait)),
            None => {
                self.taken.count(customer.clone());
                Ok(())
            }
        }
    }

    /// The wall clock, in milliseconds since 1970.
    pub(super) fn now(&self) -> Timestamp {
        (self.surroundings.now)()
    }
}
