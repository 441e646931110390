//! The binary from end to end, where the question is Kafka's or a process is killed: on Apache Kafka,
//! started by `scripts/kafka`, with the fake SMTP server where a fault must be timed, and with Postfix.
//! `KAFKA_BOOTSTRAP` names a Kafka that runs already, without any security; tests that do something to a
//! broker start their own. All other tests from end to end are in `tests/listener`.
//!
//! ```text
//!  clients · load ─▶ topics ─▶ stage · service ─▶ SMTP server
//!                                    └─▶ topics ─▶ what a read_committed reader finds
//! ```

#[path = "../staged/account.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod account;
mod answers;
#[path = "../staged/arrivals.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod arrivals;
mod backlog;
#[path = "../../../../tests/kafka_broker/mod.rs"]
mod broker;
mod broker_faults;
mod hostile_writers;
mod kill;
mod ledger;
#[path = "../staged/load.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod load;
mod login;
mod members;
#[path = "../../../../testkit/tests/smtp/postfix.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
#[expect(clippy::unwrap_used, reason = "a test that waits for Postfix")]
mod postfix;
mod refusals;
mod relay;
mod replicas;
mod resets;
mod sample;
#[path = "../scrape/mod.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod scrape;
#[path = "../staged/service.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod service;
#[path = "../staged/stage.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod stage;
#[path = "../staged/topics.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod topics;
