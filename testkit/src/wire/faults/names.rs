//! What can't happen: faults that ask a request for names that are not read of its API, and conditions
//! that exclude each other.

use kafka_protocol::messages::ApiKey;

use super::fault::{FaultAct, FaultMoment, FaultOccasion, WireFault};
use crate::script::Mistake;

/// What requests name, as [`Subject`](super::Subject) reads it.
#[derive(Clone, Copy)]
struct Names {
    topics: bool,
    groups: bool,
    members: bool,
    transactions: bool,
}

impl Names {
    const NONE: Self = Self { topics: false, groups: false, members: false, transactions: false };
    const ALL: Self = Self { topics: true, groups: true, members: true, transactions: true };

    fn at(moment: FaultMoment) -> Self {
        match moment {
            FaultMoment::Connect => Self::NONE,
            FaultMoment::Any => Self::ALL,
            FaultMoment::Api(key) => ApiKey::try_from(key).map_or(Self::NONE, Self::of),
        }
    }

    const fn of(api: ApiKey) -> Self {
        let none = Self::NONE;
        match api {
            ApiKey::Produce => Self { topics: true, transactions: true, ..none },
            ApiKey::Fetch
            | ApiKey::ListOffsets
            | ApiKey::Metadata
            | ApiKey::DeleteRecords
            | ApiKey::CreateTopics => Self { topics: true, ..none },
            ApiKey::FindCoordinator | ApiKey::AddOffsetsToTxn => {
                Self { groups: true, transactions: true, ..none }
            }
            ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::ConsumerGroupHeartbeat => Self { groups: true, members: true, ..none },
            ApiKey::OffsetCommit => Self { transactions: false, ..Self::ALL },
            ApiKey::OffsetFetch | ApiKey::OffsetDelete | ApiKey::DeleteGroups => {
                Self { groups: true, ..none }
            }
            ApiKey::InitProducerId | ApiKey::AddPartitionsToTxn | ApiKey::EndTxn => {
                Self { transactions: true, ..none }
            }
            ApiKey::TxnOffsetCommit => Self { topics: false, ..Self::ALL },
            _ => none,
        }
    }
}

/// The condition or the act that can't be, and what could stand there.
pub(super) fn mistake(fault: &WireFault) -> Option<Mistake> {
    let WireFault { occasion, act } = fault;
    if let Some(mistake) = excluded(occasion) {
        return Some(mistake);
    }
    let names = Names::at(occasion.moment);
    let is_connect = occasion.moment == FaultMoment::Connect;
    let condition = |key: &str, value: &Option<String>, is_named: bool, expected| {
        let value = value.as_ref().filter(|_| !is_named)?;
        Some((format!("{key}={value}"), expected))
    };
    let client = "another condition: a connection has no client id before its first request";
    condition("client", &occasion.client, !is_connect, client)
        .or_else(|| condition("topic", &occasion.topic, names.topics, NO_TOPIC))
        .or_else(|| condition("group", &occasion.group, names.groups, NO_GROUP))
        .or_else(|| condition("transaction", &occasion.transaction, names.transactions, NO_ID))
        .or_else(|| {
            let expected = match act {
                FaultAct::Error(_) | FaultAct::ApplyThenError(_) if is_connect => {
                    "another act: there is no answer that could have a code"
                }
                FaultAct::ExpelMember if !names.members => NO_MEMBER,
                FaultAct::ExpelGroup if !names.groups => NO_GROUP,
                FaultAct::Retain(_) if !names.topics => NO_TOPIC,
                FaultAct::FenceProducer | FaultAct::TimeOutTransaction if !names.transactions => {
                    NO_ID
                }
                _ => return None,
            };
            Some((act.to_string(), expected))
        })
}

/// The condition with which no other one holds.
fn excluded(occasion: &FaultOccasion) -> Option<Mistake> {
    let FaultOccasion { nth, every, after, probability, .. } = occasion;
    let of_nth = |other: &Option<u64>| nth.zip(*other);
    if let Some((_, after)) = of_nth(after).filter(|(nth, after)| after >= nth) {
        return Some((format!("after={after}"), "less than nth: it would never strike"));
    }
    if let Some((_, every)) = of_nth(every).filter(|(nth, every)| !nth.is_multiple_of(*every)) {
        return Some((format!("every={every}"), "a divisor of nth: it would never strike"));
    }
    let never = probability.filter(|probability| *probability == 0.0)?;
    Some((format!("probability={never}"), "more than 0: it would never strike"))
}

const NO_TOPIC: &str = "something else: faults see no topic there";
const NO_GROUP: &str = "something else: faults see no group there";
const NO_MEMBER: &str = "something else: faults see no member there";
const NO_ID: &str = "something else: faults see no transactional id there";
