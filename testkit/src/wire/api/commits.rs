//! OffsetCommit and TxnOffsetCommit: what a group has finished, at once or with a transaction.

use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, OffsetCommitRequest, OffsetCommitResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use tokio::time::Instant;

use super::groups::{has_members_here, is_here};
use super::transactions::offsets_partition;
use crate::broker::state::State;
use crate::broker::{CommittedOffset, Producing};
use crate::wire::call::Call;
use crate::wire::classic::Phase;
use crate::wire::dispatch::Api;
use crate::wire::topics::code;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::OffsetCommit, 2..=9, commit),
        Api::at_once(ApiKey::TxnOffsetCommit, 0..=5, commit_with_transaction),
    ]
}

/// The first version of OffsetCommit that knows members of groups of KIP-848.
const CONSUMERS: i16 = 9;
/// The first versions of TxnOffsetCommit that know `TRANSACTION_ABORTABLE`, and whose offsets join the
/// transaction with the request.
const ABORTABLE: i16 = 4;
const JOINS: i16 = 5;

/// Who commits for a group, as far as a request says so.
struct Committer<'a> {
    group: &'a str,
    member: &'a str,
    instance: Option<&'a str>,
    /// Or the member's epoch; -1 is none.
    generation: i32,
    transactional: bool,
    /// Whether the client may be a member of a group of KIP-848.
    knows_epochs: bool,
}

fn commit(call: &Call, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let committer = Committer {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
        transactional: false,
        knows_epochs: call.version() >= CONSUMERS,
    };
    let group: Arc<str> = committer.group.into();
    let topics = call.broker().change(|state| {
        let names = request.topics.iter().map(|topic| (Topic::from(&**topic.name), topic));
        let mut all = names.flat_map(|(name, topic)| {
            let partitions = topic.partitions.iter();
            partitions.map(move |asked| TopicPartition::new(name.clone(), asked.partition_index))
        });
        // Without a partition that there is, nobody asks the group.
        let any = all.any(|partition| state.has_partition(&partition));
        let admit = |()| if any { committer.admit(state) } else { Ok(()) };
        let admitted = is_here(call, &group).and_then(admit);
        let topics = request.topics.iter().map(|topic| {
            let name = Topic::from(&**topic.name);
            let partitions = topic.partitions.iter().map(|asked| {
                let partition = TopicPartition::new(name.clone(), asked.partition_index);
                let metadata = asked.committed_metadata.as_deref();
                let epoch = asked.committed_leader_epoch;
                let committed = committed(asked.committed_offset, epoch, metadata);
                let checked = check(state, &partition, &committed, admitted);
                if checked.is_ok() {
                    state.commit(&group, &vec![(partition, committed)]);
                }
                OffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(code(checked))
            });
            OffsetCommitResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name.clone())
        });
        topics.collect()
    });
    OffsetCommitResponse::default().with_topics(topics)
}

fn commit_with_transaction(
    call: &Call,
    request: &TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let group: Arc<str> = (&**request.group_id).into();
    let topics = call.broker().change(|state| {
        let names = request.topics.iter().map(|topic| (Topic::from(&**topic.name), topic));
        let mut all = names.flat_map(|(name, topic)| {
            let partitions = topic.partitions.iter();
            partitions.map(move |asked| TopicPartition::new(name.clone(), asked.partition_index))
        });
        // Without a partition that there is, nobody asks the coordinator.
        let any = all.any(|partition| state.has_partition(&partition));
        let admitted = if any { join(call, state, request) } else { Ok(()) };
        let topics = request.topics.iter().map(|topic| {
            let name = Topic::from(&**topic.name);
            let partitions = topic.partitions.iter().map(|asked| {
                let partition = TopicPartition::new(name.clone(), asked.partition_index);
                let metadata = asked.committed_metadata.as_deref();
                let epoch = asked.committed_leader_epoch;
                let committed = committed(asked.committed_offset, epoch, metadata);
                let checked = check(state, &partition, &committed, admitted);
                if checked.is_ok() {
                    let offsets = vec![(partition, committed)];
                    state.add_offsets(&request.transactional_id, &group, offsets);
                }
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(code(checked))
            });
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        topics.collect()
    });
    TxnOffsetCommitResponse::default().with_topics(topics)
}

/// Says why the producer, or the member of the group, may not commit, if so.
fn join(
    call: &Call,
    state: &mut State,
    request: &TxnOffsetCommitRequest,
) -> Result<(), ResponseError> {
    has_members_here(call, &request.group_id)?;
    let how = match call.version() {
        JOINS.. => Producing::Joins,
        ABORTABLE => Producing::HasJoined,
        _ => Producing::HasJoinedOld,
    };
    let producer = (*request.producer_id, request.producer_epoch);
    let partition = offsets_partition(&request.group_id);
    state.in_transaction(&request.transactional_id, producer, partition, how)?;
    let committer = Committer {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
        transactional: true,
        knows_epochs: true,
    };
    committer.admit(state).map_err(|error| match error {
        // This API does not know the newer error.
        ResponseError::StaleMemberEpoch => ResponseError::IllegalGeneration,
        error => error,
    })
}

impl Committer<'_> {
    /// Whether it says neither which member it is nor of which generation.
    const fn is_plain(&self) -> bool {
        self.generation < 0 && self.member.is_empty() && self.instance.is_none()
    }

    /// Says why it may not commit, if so. If it may, the group is there from now on, whatever becomes
    /// of its offsets.
    fn admit(&self, state: &mut State) -> Result<(), ResponseError> {
        let others = state.groups.get(self.group);
        if others.is_some_and(|group| !group.members().is_empty()) {
            // Members that are no clients on the wire.
            let passes = self.transactional && self.is_plain();
            return if passes { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        if let Some(group) = state.consumer_group(self.group) {
            if self.transactional && self.is_plain() {
                return Ok(());
            }
            let knows = self.knows_epochs || !group.members().contains_key(self.member);
            let is_simple = self.generation < 0 && group.members().is_empty();
            if !knows && !is_simple {
                return Err(ResponseError::UnsupportedVersion);
            }
            return group.validate(self.member, self.generation);
        }
        self.admit_to_classic(state)?;
        state.groups.entry(self.group.into()).or_default();
        Ok(())
    }

    fn admit_to_classic(&self, state: &mut State) -> Result<(), ResponseError> {
        let has_committed = state.groups.contains_key(self.group);
        let Some(group) = state.wire.groups.get_mut(self.group) else {
            return match has_committed {
                _ if self.generation < 0 => Ok(()),
                true => Err(ResponseError::UnknownMemberId),
                false if !self.transactional && self.knows_epochs => {
                    Err(ResponseError::GroupIdNotFound)
                }
                false => Err(ResponseError::IllegalGeneration),
            };
        };
        if self.generation < 0 && group.phase() == Phase::Empty {
            return Ok(());
        }
        if !self.is_plain() {
            group.validate(self.member, self.instance)?;
            if self.generation != group.generation() {
                return Err(ResponseError::IllegalGeneration);
            }
        } else if !self.transactional {
            return Err(ResponseError::UnknownMemberId);
        }
        if !self.transactional {
            if group.phase() == Phase::Completing {
                return Err(ResponseError::RebalanceInProgress);
            }
            group.renew(self.member, Instant::now());
        }
        Ok(())
    }
}

fn committed(offset: i64, leader_epoch: i32, metadata: Option<&str>) -> CommittedOffset {
    let leader_epoch = Some(leader_epoch).filter(|epoch| *epoch >= 0);
    CommittedOffset { offset, metadata: metadata.unwrap_or_default().to_owned(), leader_epoch }
}

/// Says why this can't be committed, if so.
fn check(
    state: &State,
    partition: &TopicPartition,
    committed: &CommittedOffset,
    admitted: Result<(), ResponseError>,
) -> Result<(), ResponseError> {
    if !state.has_partition(partition) {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    admitted?;
    let is_short = committed.metadata.len() <= state.metadata_max_bytes;
    if is_short { Ok(()) } else { Err(ResponseError::OffsetMetadataTooLarge) }
}
