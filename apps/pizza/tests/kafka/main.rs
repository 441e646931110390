//! The shop on a real Kafka, in processes of its own.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../../../../tests/kafka_broker/mod.rs"]
mod kafka_broker;
mod live;
mod many;
mod one;
#[path = "../web/stream.rs"]
mod stream;
mod town;
#[path = "../web/visitor.rs"]
mod visitor;
