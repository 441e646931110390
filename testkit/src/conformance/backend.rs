//! A broker under test.

use std::time::Duration;

use async_trait::async_trait;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic, TopicPartition};
use jobstream::sinks::Sink;
use jobstream::sources::Source;
use jobstream::state::Store;

use crate::broker::{CommittedOffset, Isolation};

/// Makes topics, sources and sinks on a broker, and reads its records and commits.
///
/// Methods panic when the broker can't be reached, which says nothing about its behaviour.
#[async_trait]
pub trait Backend: Sync {
    /// Its consumer, alone or of an exactly-once pair.
    type Source: Source;

    /// What it can do.
    fn features(&self) -> Features;

    /// How long a condition may take before it counts as not met.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Creates a topic under a name that was never used. It accepts records of 1 MiB, and refuses
    /// those of 3 MiB.
    async fn create_topic(&self, partitions: i32) -> Topic;

    /// A consumer of one topic. It sees committed records, starts at the earliest record of
    /// partitions without a commit, and has not joined yet.
    async fn source(&self, group: &str, topic: &Topic) -> Self::Source;

    /// A consumer like [`source`](Self::source) that is a static member with this instance (KIP-345).
    /// Its session ends within the backend's patience, and lasts for longer than 2 s. Needs
    /// `static_members`.
    async fn static_source(&self, group: &str, topic: &Topic, instance: &str) -> Self::Source;

    /// A consumer of several topics, like [`source`](Self::source), whose partitions are assigned
    /// as ranges.
    async fn ranges(&self, group: &str, topics: &[Topic]) -> Self::Source;

    /// A sink that does not commit positions, and places keys by CRC-32.
    async fn sink(&self) -> Box<dyn Sink>;

    /// A consumer of one topic and the sink that commits its positions in transactions.
    async fn exactly_once(
        &self,
        group: &str,
        topic: &Topic,
        transactional_id: &str,
    ) -> (Self::Source, Box<dyn Sink>);

    /// A store on a topic of [`create_topic`](Self::create_topic). Needs `transactions`.
    async fn store(&self, topic: &Topic) -> Box<dyn Store>;

    /// All records of a topic, sorted by partition and offset.
    async fn read(&self, topic: &Topic, isolation: Isolation) -> Vec<ConsumerRecord>;

    /// The offset that the next record gets.
    async fn high_watermark(&self, partition: &TopicPartition) -> i64;

    /// What a group has committed for a partition.
    async fn committed(&self, group: &str, partition: &TopicPartition) -> Option<CommittedOffset>;

    /// Commits for a group that has no member, as another program does.
    async fn alter_committed(
        &self,
        group: &str,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
    );

    /// Deletes a topic and creates it again under the same name, within a second. Needs
    /// `recreation`.
    async fn recreate_topic(&self, topic: &Topic, partitions: i32);

    /// Deletes the records below an offset. Needs `truncation`.
    async fn truncate(&self, partition: &TopicPartition, before: i64);

    /// Kills a member without notifying its group, which notices within the backend's patience.
    /// Needs `crashes`.
    async fn crash(&self, source: Self::Source);

    /// Kills a static member. Its session goes on meanwhile. Needs `static_members`.
    async fn kill(&self, source: Self::Source);

    /// Lets the session of a live member run out. Needs `expiry`.
    async fn expire(&self, source: &Self::Source);

    /// Sends records in a transaction and aborts it. Needs `transactions`.
    async fn abort(&self, transactional_id: &str, outputs: &[ProducerRecord]);

    /// Sends records in a transaction and leaves it open, as a crash does. Needs `transactions`.
    async fn abandon(&self, transactional_id: &str, outputs: &[ProducerRecord]);
}

/// What a backend can do beyond produce, fetch, groups and commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Transactions: `exactly_once`, `abort` and `abandon`.
    pub transactions: bool,
    /// Rebalances ask back only what moves.
    pub cooperative: bool,
    /// `truncate`.
    pub truncation: bool,
    /// `recreate_topic`.
    pub recreation: bool,
    /// `crash`.
    pub crashes: bool,
    /// `expire`.
    pub expiry: bool,
    /// `static_source` and `kill`.
    pub static_members: bool,
}
