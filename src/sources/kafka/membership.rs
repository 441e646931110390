//! The membership of a group, which a source and the transactions of a pair share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::buffer::Shared;
use super::client::Client;
use crate::kafka::{Event, Group, ObserverContext, code_of, commit_error};
use crate::position::{PartitionPosition, Position};
use crate::reason::Reason;
use crate::record::TopicPartition;
use crate::sources::CommitError;

/// How long one question for the group's positions waits for the coordinator.
const POSITIONS_LIMIT: Duration = Duration::from_secs(5);

/// A consumer, and the state that it shares with its stream.
pub(crate) struct Membership {
    /// The poller owns it, and may replace it.
    client: Mutex<Weak<Client>>,
    shared: Arc<Shared>,
    /// The most metadata that a commit may have, in bytes, as far as it is known.
    metadata_limit: AtomicUsize,
    observer: ObserverContext,
}

impl Membership {
    pub(super) const fn new(shared: Arc<Shared>, observer: ObserverContext) -> Self {
        let metadata_limit = AtomicUsize::new(Position::METADATA_MAX_BYTES);
        Self { client: Mutex::new(Weak::new()), shared, metadata_limit, observer }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes this client the member from now on.
    pub(super) fn set_client(&self, client: &Arc<Client>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(client);
    }

    /// The client that is the member; none once the source has ended.
    fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// How far above the frontier a committed record may be finished, in offsets.
    pub(super) fn window_offsets(&self) -> i64 {
        Position::window_offsets(self.metadata_limit.load(Ordering::Relaxed))
    }

    /// Notes that brokers accept at most this much metadata with a commit, in bytes.
    pub(super) fn limit_metadata(&self, bytes: usize) {
        let before = self.metadata_limit.fetch_min(bytes, Ordering::Relaxed);
        let (was, window) = (Position::window_offsets(before), Position::window_offsets(bytes));
        if was == Position::WINDOW_OFFSETS && window < was {
            self.observer.event(&Event::SmallMetadata { bytes, window });
        }
    }

    /// Commits, and blocks until the coordinator has answered.
    pub(super) fn commit(
        self: &Arc<Self>,
        positions: &[PartitionPosition],
    ) -> Result<(), CommitError> {
        let Some(client) = self.client() else {
            return Err(CommitError::broken("the source has ended"));
        };
        let offsets = self.offsets(positions).map_err(CommitError::fenced)?;
        let offsets = offsets.map_err(|error| commit_error(&error))?;
        client.commit(&offsets.list, CommitMode::Sync).map_err(|error| {
            let _ = self.refused(&error, positions, offsets.longest);
            of_fenced(&client, &error).unwrap_or_else(|| commit_error(&error))
        })
    }
}

/// The group of an exactly-once pair. Brokers may be away for any time.
impl Group for Arc<Membership> {
    type Position = PartitionPosition;

    const CALL_LIMIT: Timeout = Timeout::Never;
    const PATIENCE: Duration = Duration::MAX;
    const ABORTS_MAX: usize = 0;

    fn fence(&self, positions: &[PartitionPosition]) -> Result<(), String> {
        self.shared.with(|buffer| buffer.fence(positions))
    }

    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.client()?.group_metadata()
    }

    fn offsets(&self, positions: &[PartitionPosition]) -> Result<KafkaResult<Offsets>, String> {
        // A client that has left its group is taken for a reader without one, which may commit anything.
        if self.client().is_some_and(|client| client.assignment_lost()) {
            return Err("the assignment was lost".to_owned());
        }
        // Under one lock: a newer assignment may be of another topic.
        let topic_ids = self.shared.with(|buffer| {
            buffer.fence(positions)?;
            Ok::<_, String>(buffer.topic_ids(positions))
        })?;
        let limit = self.metadata_limit.load(Ordering::Relaxed);
        let mut positions = positions.iter().zip(topic_ids);
        Ok(positions.try_fold(Offsets::default(), |all, (it, id)| {
            all.add(&it.partition, it.position.frontier(), &it.position.metadata(id, limit))
        }))
    }

    /// Next time, half of the metadata that was refused is tried. A member that the group does not know
    /// has lost every partition, and joins again. One whose instance another has taken has lost them, too,
    /// and learns from its next heartbeat that it can't. An older generation alone is no loss: the next one
    /// may be on its way, and librdkafka asks for the partitions if it is not.
    fn refused(
        &self,
        error: &KafkaError,
        positions: &[PartitionPosition],
        longest: usize,
    ) -> Option<String> {
        use RDKafkaErrorCode as Code;
        match code_of(error) {
            Code::OffsetMetadataTooLarge => self.limit_metadata(longest / 2),
            Code::UnknownMemberId | Code::FencedMemberEpoch => self.shared.change(|buffer| {
                if buffer.refuse(positions) {
                    buffer.expelled = Some(error.to_string());
                }
            }),
            Code::FencedInstanceId => {
                self.shared.change(|buffer| buffer.refuse(positions));
            }
            _ => {}
        }
        self.shared.signal.raise();
        None
    }

    fn ended(&self, committed: bool) {
        self.observer.event(&Event::Transaction { committed });
    }

    /// The assignment is kept: whoever else may commit the group's positions is of a newer generation,
    /// which fences this member's commits.
    fn fenced(&self, reason: &str) -> bool {
        self.observer.event(&Event::Fenced { reason });
        true
    }

    fn committed(&self, of: &TopicPartitionList) -> Option<KafkaResult<TopicPartitionList>> {
        let client = self.client()?;
        Some(client.committed_offsets(of.clone(), POSITIONS_LIMIT))
    }
}

/// The offsets of a commit.
#[derive(Default)]
pub(crate) struct Offsets {
    pub(crate) list: TopicPartitionList,
    /// The longest metadata of it, in bytes.
    pub(crate) longest: usize,
}

impl Offsets {
    /// Adds an offset.
    ///
    /// # Errors
    /// If librdkafka refuses it.
    pub(crate) fn add(
        mut self,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
    ) -> KafkaResult<Self> {
        let mut element = self.list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata);
        self.longest = self.longest.max(metadata.len());
        Ok(self)
    }
}

/// A commit's metadata, if it is UTF-8. Otherwise rdkafka panics, which is caught here.
pub(crate) fn metadata_of(element: &TopicPartitionListElem<'_>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| element.metadata().to_owned())).ok()
}

/// The error of a commit if the member was fenced. The poller decides whether that ends the source.
fn of_fenced(client: &Client, error: &KafkaError) -> Option<CommitError> {
    let (code, reason) = client.client().fatal_error()?;
    let is_fenced = code == RDKafkaErrorCode::FencedInstanceId;
    is_fenced.then(|| {
        CommitError::fenced(Reason::of(error.clone()).in_words(format!("{error}: {reason}")))
    })
}
