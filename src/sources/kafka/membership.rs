//! Being a member of a group: what a source and the transactions of a pair share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::buffer::{Buffer, Command};
use super::context::Client;
use super::metadata::{self, Offsets};
use super::shared::Shared;
use crate::kafka::{KafkaEvent, Told, commit_error};
use crate::position::{PartitionPosition, Position};
use crate::reason::Reason;
use crate::sources::CommitError;

/// A consumer, and what its stream has been told.
pub(crate) struct Membership {
    /// The poller's, which has it alone, and may make it anew.
    client: Mutex<Weak<Client>>,
    shared: Arc<Shared>,
    /// The most metadata that a commit may have, in bytes, as far as it is known.
    metadata_limit: AtomicUsize,
    told: Told,
}

impl Membership {
    pub(super) const fn new(shared: Arc<Shared>, told: Told) -> Self {
        let metadata_limit = AtomicUsize::new(Position::METADATA_MAX_BYTES);
        Self { client: Mutex::new(Weak::new()), shared, metadata_limit, told }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// From now on this client is the member.
    pub(super) fn set_client(&self, client: &Arc<Client>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(client);
    }

    /// The client that is the member; none once the source has ended.
    fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Says why these positions may not be committed, if so.
    pub(crate) fn fence(&self, positions: &[PartitionPosition]) -> Result<(), String> {
        self.shared.with(|buffer| buffer.fence(positions))
    }

    /// What commits these positions.
    ///
    /// # Errors
    /// If they may not be committed, and why; or if librdkafka refuses an offset.
    pub(crate) fn offsets(
        &self,
        positions: &[PartitionPosition],
    ) -> Result<KafkaResult<Offsets>, String> {
        // At once: an assignment that is newer may be of another topic.
        let topic_ids = self.shared.with(|buffer| {
            buffer.fence(positions)?;
            Ok::<_, String>(buffer.topic_ids(positions))
        })?;
        Ok(metadata::offsets(positions, &topic_ids, self.metadata_limit.load(Ordering::Relaxed)))
    }

    /// How far above the frontier a commit can say that a record is finished, in offsets.
    pub(super) fn window_offsets(&self) -> i64 {
        Position::window_offsets(self.metadata_limit.load(Ordering::Relaxed))
    }

    /// Takes note that brokers take no more metadata with a commit than this, in bytes.
    pub(super) fn limit_metadata(&self, bytes: usize) {
        let before = self.metadata_limit.fetch_min(bytes, Ordering::Relaxed);
        let (was, window) = (Position::window_offsets(before), Position::window_offsets(bytes));
        if was == Position::WINDOW_OFFSETS && window < was {
            self.told.event(&KafkaEvent::SmallMetadata { bytes, window });
        }
    }

    /// Learns from a refused commit what brokers do not take: half of what was refused is tried
    /// next.
    pub(crate) fn refused(&self, error: &KafkaError, longest: usize) {
        if code_of(error) == Some(RDKafkaErrorCode::OffsetMetadataTooLarge) {
            self.limit_metadata(longest / 2);
        }
    }

    /// What a transaction needs to commit for this member. Taken before
    /// [`fence`](Self::fence), it fences whatever changes after.
    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.client()?.group_metadata()
    }

    /// Gives the assignment up, as if it were lost, and joins again. From now on no position of
    /// it can be committed: what became of a commit that was under way is read from the group.
    pub(crate) fn rejoin(&self) {
        self.shared.change(Buffer::lose_all);
        self.shared.ask(Command::Rejoin);
    }

    /// Commits, and blocks until the coordinator has answered.
    pub(super) fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
        let Some(client) = self.client() else {
            return Err(CommitError::broken("the source has ended"));
        };
        let offsets = self.offsets(positions).map_err(CommitError::fenced)?;
        let offsets = offsets.map_err(|error| commit_error(&error))?;
        client.commit(&offsets.list, CommitMode::Sync).map_err(|error| {
            self.refused(&error, offsets.longest);
            of_fenced(&client, &error).unwrap_or_else(|| commit_error(&error))
        })
    }
}

fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    }
}

/// What a commit's error means if the member was fenced: whether that ends the source, the poller
/// finds.
fn of_fenced(client: &Client, error: &KafkaError) -> Option<CommitError> {
    let (code, reason) = client.client().fatal_error()?;
    let is_fenced = code == RDKafkaErrorCode::FencedInstanceId;
    is_fenced.then(|| {
        CommitError::fenced(Reason::of(error.clone()).in_words(format!("{error}: {reason}")))
    })
}
