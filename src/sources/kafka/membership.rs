//! Being a member of a group: what a source and the transactions of a pair share.

use std::sync::Arc;

use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};

use super::buffer::{Buffer, Command};
use super::context::Client;
use super::metadata;
use super::shared::Shared;
use crate::kafka::commit_error;
use crate::position::PartitionPosition;
use crate::sources::CommitError;

/// A consumer, and what its stream has been told.
pub(crate) struct Membership {
    client: Arc<Client>,
    shared: Arc<Shared>,
}

impl Membership {
    pub(super) const fn new(client: Arc<Client>, shared: Arc<Shared>) -> Self {
        Self { client, shared }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Says why these positions may not be committed, if so.
    pub(crate) fn fence(&self, positions: &[PartitionPosition]) -> Result<(), String> {
        self.shared.with(|buffer| buffer.fence(positions))
    }

    /// What a transaction needs to commit for this member. Taken before
    /// [`fence`](Self::fence), it fences whatever changes after.
    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.client.group_metadata()
    }

    /// Gives the assignment up, as if it were lost, and joins again. From now on no position of
    /// it can be committed: what became of a commit that was under way is read from the group.
    pub(crate) fn rejoin(&self) {
        self.shared.change(Buffer::lose_all);
        self.shared.ask(Command::Rejoin);
    }

    /// Commits, and blocks until the coordinator has answered.
    pub(super) fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
        self.fence(positions).map_err(CommitError::Fenced)?;
        let offsets = metadata::offsets(positions).map_err(|error| commit_error(&error))?;
        self.client.commit(&offsets, CommitMode::Sync).map_err(|error| commit_error(&error))
    }
}
