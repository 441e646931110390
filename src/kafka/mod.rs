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
mod failures;
mod observer;
mod reader;
mod reading;
mod redrive;
mod topics;
mod transactions;

pub(crate) use calls::Calls;
pub use config::{ConfigError, KafkaConfig};
pub(crate) use error::{commit_error, is_too_large};
pub use exactly_once::{ExactlyOnceSink, exactly_once};
pub(crate) use observer::Told;
pub use observer::{ErrorKind, KafkaEvent, KafkaObserver, LogLevel};
pub use reader::{PartitionRange, TopicReader};
pub(crate) use reading::{Reading, reached};
pub use redrive::{Redrive, RedriveError, RunPosition};
pub(crate) use topics::metadata_max_bytes;
pub use topics::{NewTopic, Spread, TopicError, TopicState, Topics};
pub(crate) use transactions::Transactions;

/// The version of librdkafka that is beneath, such as `2.12.1`.
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
