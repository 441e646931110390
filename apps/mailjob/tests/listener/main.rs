//! The binary from end to end, on the broker of the testkit and its listener for Kafka's protocol, with the
//! fake SMTP server. A test that asks something of Kafka itself, or kills, is in `tests/kafka`; it moves
//! from one to the other as it is, since each calls its broker `Broker`.

#[path = "../staged/account.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod account;
mod answers;
#[path = "../staged/arrivals.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod arrivals;
#[path = "../../../../tests/in_memory_broker/mod.rs"]
mod broker;
#[path = "../page/client.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
#[expect(clippy::unwrap_used, reason = "a test that waits for the page")]
mod client;
mod dead_letters;
mod ledger;
mod limits;
#[path = "../staged/load.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
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
#[allow(dead_code, reason = "other tests do more with it")]
#[expect(clippy::unwrap_used, reason = "a test that waits for Postfix")]
mod postfix;
mod refusals;
mod relays;
mod resets;
mod sample;
#[path = "../scrape/mod.rs"]
mod scrape;
#[path = "../staged/service.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod service;
#[path = "../staged/stage.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod stage;
mod stop;
#[path = "../staged/topics.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod topics;
mod traces;
mod waits;
