//! What the Kafka source and the Kafka sink share: settings, events, topics, transactions.
//!
//! ```text
//!              ┌─▶ KafkaSource ─▶ topology ─▶ KafkaSink ───────┐
//!  KafkaConfig ┤                                               ├─▶ brokers
//!              └─▶ exactly_once: KafkaSource + ExactlyOnceSink ┘
//! ```
//!
//! Everything rests on librdkafka. Its calls that block run on threads of their own, each bounded to
//! the life of a source, a sink or a pair; none of its callbacks does more than report.

mod asking;
mod calls;
mod config;
mod error;
mod exactly_once;
mod observer;
mod topics;
mod transactions;

pub(crate) use calls::Calls;
pub use config::{ConfigError, KafkaConfig};
pub(crate) use error::{commit_error, is_too_large};
pub use exactly_once::{ExactlyOnceSink, exactly_once};
pub(crate) use observer::Told;
pub use observer::{ErrorKind, KafkaEvent, KafkaObserver, LogLevel};
pub use topics::{NewTopic, TopicError, TopicState, Topics};
pub(crate) use transactions::Transactions;
