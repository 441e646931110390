//! What the Kafka source and the Kafka sink share: settings, events, topics, transactions.
//!
//! ```text
//!              ┌─▶ KafkaSource ─▶ topology ─▶ KafkaSink ───────┐
//!  KafkaConfig ┤                                               ├─▶ brokers
//!              └─▶ exactly_once: KafkaSource + ExactlyOnceSink ┘
//! ```
//!
//! Everything rests on librdkafka. Its blocking calls run on threads of their own, each bounded to
//! the life of a source, a sink or a pair; its callbacks only report.

mod asking;
mod blocking;
mod config;
mod error;
mod exactly_once;
mod failures;
mod observer;
mod range;
mod reader;
mod redrive;
mod topics;
mod transactions;

pub(crate) use blocking::Blocking;
pub use config::{ConfigError, KafkaConfig};
pub(crate) use error::{code_of, commit_error, is_too_large};
pub(crate) use exactly_once::PairTransactions;
pub use exactly_once::{ExactlyOnceSink, exactly_once};
pub(crate) use observer::ObserverContext;
pub use observer::{ErrorKind, KafkaEvent, KafkaObserver, LogLevel};
pub use range::PartitionRange;
pub(crate) use range::{Fetched, RangeReader};
pub use reader::TopicReader;
pub use redrive::{Redrive, RedriveError, RunPosition};
pub(crate) use topics::metadata_max_bytes;
pub use topics::{NewTopic, Spread, TopicError, TopicState, Topics};
pub(crate) use transactions::Group;

/// The version of librdkafka, such as `2.12.1`.
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
