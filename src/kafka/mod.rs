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
//!
//! # What librdkafka does
//!
//! - **The id of a new topic is in a debug line only.** From Apache Kafka 3.1 on, a fetch names the
//!   topic's id, and librdkafka reads from a new topic only after it has learnt the id. It logs
//!   that in one debug line and reports it nowhere else, and the line comes before the first
//!   record; an answer to a question about ids would always come later. So the source reads that
//!   line.
//! - **A group's new coordinator is looked for only when a connection opens or closes** (its issue
//!   5511). So a transactional producer closes idle connections: otherwise the end of a transaction
//!   waits for ever after the coordinator has died.
//! - **A member id goes with its session, and a commit that has waited for the coordinator is sent
//!   without one.** A broker reports that as fenced for a static member, and librdkafka as fatal.
//!   So the source makes its consumer anew. The order of events distinguishes this from another
//!   process with the same id: a member that had lost its assignment before it was fenced was
//!   fenced by its own late commit, and joins again; a member that is fenced while it has its
//!   assignment was replaced, and ends.
//! - **Whoever unsubscribes leaves the group, static member or not.** Only a close without an
//!   unsubscription leaves the place of a static member to its next process. So a static member is
//!   closed while it is subscribed, and the others unsubscribe first.
//! - **A record is freed with its delivery report.** On another thread than the one that made the
//!   record, that contends for the allocator. So the task that publishes takes the reports. Nothing
//!   wakes a task for a report: it looks after 1 ms, and less often the longer it waits.
//! - **A commit is acknowledged before its markers are written.** Until they are, the coordinator
//!   refuses the producer's next transaction, and librdkafka asks again after 20 ms, which is longer
//!   than a small transaction takes. Where jobs wait for commits, as with a ledger, two producers of
//!   a pair take turns, still one transaction at a time.
//! - **A transaction's records count only once it is committed.** A sink that was built to keep
//!   places answers a publish with where the records are, for the log; most executors log none, and
//!   a sink that was not built so keeps none.

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
mod rehearsal;
mod topics;
mod transactions;
mod turns;

pub(crate) use blocking::Blocking;
pub use config::{ConfigError, KafkaConfig};
pub(crate) use error::{code_of, commit_error, is_too_large};
pub(crate) use exactly_once::PairTransactions;
pub use exactly_once::{ExactlyOnceSink, exactly_once};
pub(crate) use observer::ObserverContext;
pub use observer::{ErrorKind, Event, LogLevel, Observer};
pub use range::PartitionRange;
pub(crate) use range::{Fetched, RangeReader};
pub use reader::TopicReader;
pub use redrive::{Redrive, RedriveError, RunPosition};
pub use rehearsal::{Subject, Untaken, try_member, try_transactions};
pub(crate) use topics::metadata_max_bytes;
pub use topics::{NewTopic, Spread, TopicError, TopicState, Topics};
pub(crate) use transactions::Group;

/// The version of librdkafka, such as `2.12.1`.
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
