//! The binary from end to end: on Apache Kafka, started by `scripts/kafka`, with the fake SMTP server
//! where a fault must be timed, and with Postfix. `KAFKA_BOOTSTRAP` names a Kafka that runs already,
//! without any security; tests that do something to a broker start their own.
//!
//! ```text
//!  clients · load ─▶ topics ─▶ stage · service ─▶ SMTP server
//!                                    └─▶ topics ─▶ what a read_committed reader finds
//! ```

mod account;
mod answers;
mod arrivals;
mod backlog;
mod broker_faults;
#[path = "../page/client.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
#[expect(clippy::unwrap_used, reason = "a test that waits for the page")]
mod client;
mod dead_letters;
mod hostile_writers;
#[path = "../../../../tests/kafka_broker/mod.rs"]
mod kafka_broker;
mod kill;
mod ledger;
mod limits;
mod load;
mod log_lines;
mod login;
mod mail_server;
mod members;
mod metrics;
#[path = "../../../../tests/otlp_collector/mod.rs"]
mod otlp_collector;
mod page;
mod parked;
#[path = "../../../../testkit/tests/smtp/postfix.rs"]
#[expect(clippy::unwrap_used, reason = "a test that waits for Postfix")]
mod postfix;
mod refusals;
mod relay;
mod replicas;
mod resets;
mod sample;
#[path = "../scrape/mod.rs"]
mod scrape;
mod service;
mod stage;
mod stop;
mod topics;
mod traces;
mod waits;
