//! Being a member of a group: what a source and the transactions of a pair share.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::buffer::{Buffer, Command};
use super::context::Client;
use super::metadata;
use super::shared::Shared;
use crate::kafka::commit_error;
use crate::position::PartitionPosition;
use crate::sources::CommitError;

/// A consumer, and what its stream has been told.
pub(crate) struct Membership {
    /// The poller's, which has it alone, and may make it anew.
    client: Mutex<Weak<Client>>,
    shared: Arc<Shared>,
}

impl Membership {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { client: Mutex::new(Weak::new()), shared }
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
            return Err(CommitError::Broken("the source has ended".into()));
        };
        self.fence(positions).map_err(CommitError::Fenced)?;
        let offsets = metadata::offsets(positions).map_err(|error| commit_error(&error))?;
        let committed = client.commit(&offsets, CommitMode::Sync);
        committed
            .map_err(|error| of_fenced(&client, &error).unwrap_or_else(|| commit_error(&error)))
    }
}

/// What a commit's error means if the member was fenced: whether that ends the source, the poller
/// finds.
fn of_fenced(client: &Client, error: &KafkaError) -> Option<CommitError> {
    let (code, reason) = client.client().fatal_error()?;
    let is_fenced = code == RDKafkaErrorCode::FencedInstanceId;
    is_fenced.then(|| CommitError::Fenced(format!("{error}: {reason}")))
}
