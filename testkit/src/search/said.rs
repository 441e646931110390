//! What a request says, as far as a search counts it and people read it.

use bytes::Bytes;
use jobstream::record::TopicPartition;
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupHeartbeatRequest, EndTxnRequest, FetchRequest, OffsetCommitRequest,
    ProduceRequest, TxnOffsetCommitRequest,
};

use super::fault::Point;
use crate::wire::{WireRequest, decode};

/// Where a record batch has the number of its records.
const COUNT_AT: std::ops::Range<usize> = 57..61;

#[derive(Debug, Default)]
pub(super) struct Said {
    /// A line of the timeline; none for what is asked all the time.
    pub(super) text: Option<String>,
    /// How many records it brings to topics of outputs.
    pub(super) records: u64,
    /// Whether it commits positions for the topic of the jobs, or a transaction.
    pub(super) commits: bool,
    /// Where it reads from.
    pub(super) reads: Vec<(TopicPartition, i64)>,
}

impl Said {
    /// Reads a request. One that can't be read says nothing; the broker refuses it.
    pub(super) fn read(request: &WireRequest<'_>, input: &str, outputs: &[String]) -> Self {
        let said = match ApiKey::try_from(request.api()) {
            Ok(ApiKey::Produce) => Self::produce(request, outputs),
            Ok(ApiKey::Fetch) => Self::fetch(request),
            Ok(ApiKey::OffsetCommit) => Self::offset_commit(request, input),
            Ok(ApiKey::TxnOffsetCommit) => Self::txn_offset_commit(request),
            Ok(ApiKey::EndTxn) => Self::end_txn(request),
            Ok(ApiKey::ConsumerGroupHeartbeat) => Self::beat(request),
            Ok(ApiKey::JoinGroup) => Ok(Self::about("joins group", request.groups())),
            Ok(ApiKey::LeaveGroup) => Ok(Self::about("leaves group", request.groups())),
            Ok(ApiKey::InitProducerId) => match request.transactional_ids() {
                [] => Ok(Self::default()),
                ids => Ok(Self::about("begins as producer", ids)),
            },
            _ => Ok(Self::default()),
        };
        said.unwrap_or_default()
    }

    /// The points at which it is, and how often each comes with it.
    pub(super) fn points(&self, api: i16) -> impl Iterator<Item = (Point, u64)> {
        let commits = u64::from(self.commits);
        let points =
            [(Point::Request(api), 1), (Point::Record, self.records), (Point::Commit, commits)];
        points.into_iter().filter(|(_, times)| *times > 0)
    }

    fn about(what: &str, names: &[String]) -> Self {
        Self { text: Some(format!("{what} {}", names.join(", "))), ..Self::default() }
    }

    fn produce(request: &WireRequest<'_>, outputs: &[String]) -> Result<Self, String> {
        let body: ProduceRequest = decode(request.body(), request.version())?;
        let mut said = Self::default();
        let mut parts = Vec::new();
        for (name, topic) in request.topics().iter().zip(&body.topic_data) {
            for data in &topic.partition_data {
                let records = data.records.as_ref().map_or(0, count);
                parts.push(format!("{records} to {name}[{}]", data.index));
                said.records += if outputs.contains(name) { records } else { 0 };
            }
        }
        said.text = Some(format!("... produce {}", parts.join(", ")));
        Ok(said)
    }

    fn fetch(request: &WireRequest<'_>) -> Result<Self, String> {
        let body: FetchRequest = decode(request.body(), request.version())?;
        let mut said = Self::default();
        for (name, topic) in request.topics().iter().zip(&body.topics) {
            let reads = topic.partitions.iter().map(|asked| {
                (TopicPartition::new(name.as_str(), asked.partition), asked.fetch_offset)
            });
            said.reads.extend(reads);
        }
        Ok(said)
    }

    fn offset_commit(request: &WireRequest<'_>, input: &str) -> Result<Self, String> {
        let body: OffsetCommitRequest = decode(request.body(), request.version())?;
        let positions = request.topics().iter().zip(&body.topics).flat_map(|(name, topic)| {
            topic.partitions.iter().map(move |asked| {
                format!("{name}[{}] up to {}", asked.partition_index, asked.committed_offset)
            })
        });
        let text = format!("... commit {}", positions.collect::<Vec<_>>().join(", "));
        let commits = request.topics().iter().any(|topic| topic == input);
        Ok(Self { text: Some(text), commits, ..Self::default() })
    }

    fn txn_offset_commit(request: &WireRequest<'_>) -> Result<Self, String> {
        let body: TxnOffsetCommitRequest = decode(request.body(), request.version())?;
        let positions = body.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(move |asked| {
                let name = topic.name.as_str();
                format!("{name}[{}] up to {}", asked.partition_index, asked.committed_offset)
            })
        });
        let positions = positions.collect::<Vec<_>>().join(", ");
        let ids = request.transactional_ids().join(", ");
        let text = format!("... add {positions} to the transaction of {ids}");
        Ok(Self { text: Some(text), ..Self::default() })
    }

    fn end_txn(request: &WireRequest<'_>) -> Result<Self, String> {
        let body: EndTxnRequest = decode(request.body(), request.version())?;
        let ends = if body.committed { "commit" } else { "abort" };
        let ids = request.transactional_ids().join(", ");
        let text = format!("... {ends} the transaction of {ids}");
        Ok(Self { text: Some(text), commits: body.committed, ..Self::default() })
    }

    fn beat(request: &WireRequest<'_>) -> Result<Self, String> {
        let body: ConsumerGroupHeartbeatRequest = decode(request.body(), request.version())?;
        Ok(match body.member_epoch {
            0 => Self::about("joins group", request.groups()),
            ..0 => Self::about("leaves group", request.groups()),
            _ => Self::default(),
        })
    }
}

/// How many records a batch says that it has.
fn count(batch: &Bytes) -> u64 {
    let bytes = batch.get(COUNT_AT).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, |bytes| u64::from(u32::from_be_bytes(bytes)))
}
