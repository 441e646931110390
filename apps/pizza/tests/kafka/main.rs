//! The shop on Apache Kafka, in processes of its own, of which some are killed.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../../../../tests/kafka_broker/mod.rs"]
mod broker;
mod many;
#[path = "../staged/town.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod town;
#[path = "../web/visitor.rs"]
mod visitor;
