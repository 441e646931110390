//! An in-memory Kafka broker.
