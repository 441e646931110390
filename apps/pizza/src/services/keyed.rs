//! The stage that reads a record's key.

use jobstream::record::ConsumerRecord;
use jobstream::topology::{Flow, Stage};

use crate::order_id::OrderId;

/// The reason of a dead letter whose key is no order's id.
const NO_ORDER: &str = "no-order";

/// An event, and the order that it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed<E> {
    pub(super) id: OrderId,
    pub(super) event: E,
}

/// Passes on what is about an order; the rest is a dead letter.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByOrder;

impl<E> Stage<E> for ByOrder {
    type Out = Keyed<E>;

    fn apply(&self, record: &ConsumerRecord, event: E) -> Flow<Keyed<E>> {
        let key = record.key.as_deref().unwrap_or_default();
        match OrderId::try_from(key) {
            Ok(id) => Flow::Next(Keyed { id, event }),
            Err(error) => Flow::DeadLetter { reason: NO_ORDER, cause: format!("the key: {error}") },
        }
    }
}
