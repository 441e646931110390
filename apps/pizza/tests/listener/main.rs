//! The shop in processes of its own, on the broker of the testkit and its listener for Kafka's protocol.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../../../../tests/in_memory_broker/mod.rs"]
mod broker;
mod live;
mod one;
#[path = "../web/stream.rs"]
mod stream;
#[path = "../staged/town.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod town;
#[path = "../web/visitor.rs"]
mod visitor;
