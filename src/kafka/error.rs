//! What librdkafka's errors mean at the seams.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::reason::Reason;
use crate::sources::CommitError;

/// The code of an error of any call.
pub(crate) fn code_of(error: &KafkaError) -> Code {
    match error {
        KafkaError::AdminOp(code) => *code,
        KafkaError::Transaction(error) => error.code(),
        other => other.rdkafka_error_code().unwrap_or(Code::Unknown),
    }
}

/// Whether a newer member, or a newer generation of the group, has fenced this one.
pub(crate) fn is_group_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::StaleMemberEpoch
            | Code::AssignmentLost
            | Code::UnknownGroup
    )
}

/// Whether the brokers refuse this producer: a newer one has its transactional id, or the
/// producer's state was lost with a broker that was killed. A new producer can go on.
///
/// INVALID_TXN_STATE is one of these codes: the broker does not have the producer's transaction,
/// for instance after its timeout, after a coordinator was killed, or after a write failed the
/// verification of KIP-890 (newer brokers answer TRANSACTION_ABORTABLE there, and the transaction
/// is aborted). librdkafka treats it as fatal, so this producer can't go on. What follows assumes
/// nothing about the transaction: the new producer's `init_transactions` aborts it if it is open,
/// and the group's committed positions say whether it was committed.
pub(crate) fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::InvalidProducerIdMapping
            | Code::InvalidTransactionalState
            | Code::OutOfOrderSequenceNumber
            | Code::UnknownProducerId
            | Code::TransactionCoordinatorFenced
            | Code::FencedInstanceId
    )
}

/// Whether the broker or the producer takes no record of that size.
pub(crate) fn is_too_large(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize
    )
}

/// What a commit that failed means for its positions.
pub(crate) fn commit_error(error: &KafkaError) -> CommitError {
    let reason = Reason::of(error.clone());
    match error.rdkafka_error_code() {
        Some(code) if is_group_fenced(code) => CommitError::fenced(reason),
        Some(
            Code::Fatal
            | Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::InvalidGroupId
            | Code::InvalidCommitOffsetSize,
        ) => CommitError::broken(reason),
        _ => CommitError::transient(reason),
    }
}
