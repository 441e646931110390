//! The services, chained by topics. What passes between them are records whose key is the order.
//!
//! ```text
//!  web app ─▶ pizza-ordered ─┬─▶ assemble ─▶ pizza-assembled ─▶ bake ─▶ pizza-baked ─┐
//!                            │      │                             │                  │
//!                            └──────┼───────── early warning ─────┼────────▶ deliver ◀
//!                                   │ 200                     300 │              │ 400, -100
//!                                   ▼                             ▼              ▼
//!  read model ◀── status ◀──────────────────── pizza-status ◀─────┴──────────────┘
//! ```
//!
//! Each is a [`Topology`]. What it can't read becomes a dead letter, and beside it the status that
//! the order has [failed](Status::FAILED) is published.

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::topology::{Builder, Topology};
use tracing::info;

use crate::order_id::OrderId;
use crate::status::Status;
use crate::topics;

pub mod assemble;
pub mod bake;
pub mod deliver;
mod event;
mod keyed;
mod memory;
mod notice;
mod service;
pub mod status;
pub mod watchdog;

use event::StatusEvent;
pub use jobstream_service::Delivery;
pub use service::Service;

/// A topology of a service: its dead letters, and what becomes of their orders.
fn builder() -> Builder {
    Topology::builder(topics::DEAD_LETTER).beside_dead_letters(failed)
}

/// The record that reports an order as failed, since an event of it can't be read; none if the
/// event's key does not say which order that is.
fn failed(record: &ConsumerRecord) -> Vec<ProducerRecord> {
    let id = record.key.as_deref().and_then(|key| OrderId::try_from(key).ok());
    id.map(|id| told(id, Status::FAILED)).into_iter().collect()
}

/// The record that reports the status of an order.
pub fn told(id: OrderId, status: Status) -> ProducerRecord {
    record(topics::STATUS, id).value(StatusEvent::of(status).to_json())
}

/// Logs that an order is known, and that nothing follows from what came of it again.
fn passed_over(service: &'static str, id: OrderId) {
    info!(service, "Order '{id}' is known already: passed over");
}

/// A record of an order, without a value.
fn record(topic: &'static str, id: OrderId) -> ProducerRecord {
    ProducerRecord::to(topic).key(Bytes::copy_from_slice(id.as_bytes()))
}
