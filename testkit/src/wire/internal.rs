//! Kafka's internal topics, as clients see them: listed and empty.
//!
//! Groups and transactions are kept in memory and not in records. The topics are there for clients
//! that look for them; only those on the wire see them.

use jobstream::record::{Topic, TopicId, TopicPartition};

use crate::broker::TopicOptions;
use crate::broker::state::State;
use crate::broker::topic::TopicState;
use crate::broker::topic_config::TopicConfig;

/// Made when the coordinator of a group is first looked for.
pub(super) const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Made when the coordinator of a transactional id is first looked for.
pub(super) const TRANSACTION_STATE: &str = "__transaction_state";
/// The log of Kafka's controllers, which is no topic.
pub(super) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// As many as Kafka gives each.
const PARTITIONS: i32 = 50;

/// Whether it is the name of an internal topic.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE)
}

/// The partition of an internal topic that keeps a group or a transactional id: by Java's hash of the
/// name, as in Kafka.
pub(super) fn partition_of(key: &str) -> i32 {
    let units = key.encode_utf16();
    let hash = units.fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    // As Kafka's `Utils.abs`.
    hash.checked_abs().unwrap_or(0) % PARTITIONS
}

/// What Kafka says of each.
fn entries(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        CONSUMER_OFFSETS => &[
            ("cleanup.policy", "compact"),
            ("compression.type", "producer"),
            ("segment.bytes", "104857600"),
        ],
        _ => &[
            ("cleanup.policy", "compact"),
            ("compression.type", "uncompressed"),
            ("min.insync.replicas", "1"),
            ("segment.bytes", "104857600"),
            ("unclean.leader.election.enable", "false"),
        ],
    }
}

impl State {
    /// Makes an internal topic as Kafka does, if it is missing.
    pub(super) fn ensure_internal(&mut self, name: &str) {
        if self.topic_named(name).is_some() {
            return;
        }
        let mut config = TopicConfig::new(self.wire.topic_defaults.clone());
        for (name, value) in entries(name) {
            // An entry that is not known would be missing in the description, and nowhere else.
            let _ = config.said_mut().set(name, value);
        }
        self.add_internal(name, PARTITIONS, config);
    }

    /// Makes an internal topic, in place of one that there may be; gives its id.
    pub(super) fn add_internal(
        &mut self,
        name: &str,
        partitions: i32,
        config: TopicConfig,
    ) -> TopicId {
        self.topics_created += 1;
        let (topic, id) = (Topic::from(name), TopicId::new(self.topics_created));
        let options = TopicOptions::partitions(partitions);
        let state = TopicState::new(topic.clone(), id, &options);
        self.wire.internal_topics.insert(topic.clone(), state);
        self.configure(&topic, config);
        self.changed = true;
        id
    }

    /// The topic of this name, an internal one too.
    pub(super) fn topic_named(&self, name: &str) -> Option<&TopicState> {
        self.topics.get(name).or_else(|| self.wire.internal_topics.get(name))
    }

    /// The topic of this name, an internal one too, to be changed.
    pub(crate) fn topic_named_mut(&mut self, name: &str) -> Option<&mut TopicState> {
        self.topics.get_mut(name).or_else(|| self.wire.internal_topics.get_mut(name))
    }

    /// Every topic that clients on the wire see.
    pub(super) fn all_topics(&self) -> impl Iterator<Item = &TopicState> {
        let internal = self.wire.internal_topics.values();
        // One of the name may have been created in the process, since.
        let internal = internal.filter(|topic| !self.topics.contains_key(&topic.name));
        internal.chain(self.topics.values())
    }

    /// Whether clients on the wire see the partition.
    pub(super) fn has_partition(&self, partition: &TopicPartition) -> bool {
        let topic = self.topic_named(&partition.topic);
        topic.is_some_and(|topic| (0..topic.partitions()).contains(&partition.partition))
    }
}
