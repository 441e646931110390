//! A plain producer, as a sink.

use async_trait::async_trait;
use jobstream::reason::Reason;
use jobstream::record::{Topic, TopicPartition};
use jobstream::sinks::{Batch, Commits, Published, RecordMetadata, Sink, SinkError};

use super::Broker;
use super::member::MemberId;
use super::operation::{Fault, Operation};
use super::state::State;

/// A record that was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// No such topic; nothing creates topics by itself.
    #[error("topic {0} does not exist")]
    UnknownTopic(Topic),
    /// The topic has no such partition.
    #[error("partition {0} does not exist")]
    UnknownPartition(TopicPartition),
    /// The record is larger than its topic takes.
    #[error(
        "the record is too large: found a batch of {bytes} bytes, expected at most {max_bytes}"
    )]
    TooLarge {
        /// Bytes of the record as a batch of its own.
        bytes: usize,
        /// The topic's `max.message.bytes`.
        max_bytes: usize,
    },
    /// The topic keeps the last record of each key, and this one has none.
    #[error("the compacted topic {0} accepts no record without a key")]
    NoKey(Topic),
}

/// Batches that wait for the broker at once, as a producer on Kafka has them.
const BATCHES_AT_ONCE: usize = 4;

/// Publishes records without a transaction, and answers where they are; the positions are left to the
/// source.
///
/// Outputs that are too large are passed over and the others published; an output for a topic that
/// does not exist breaks it.
#[derive(Clone, Debug)]
pub struct Producer {
    broker: Broker,
    member: Option<MemberId>,
}

impl Producer {
    pub(super) fn new(broker: Broker) -> Self {
        Self { broker, member: None }
    }

    /// Runs in the process of that member: when it crashes or is suspended, this pends too.
    #[must_use]
    pub const fn beside(mut self, member: MemberId) -> Self {
        self.member = Some(member);
        self
    }
}

#[async_trait]
impl Sink for Producer {
    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        let published = self
            .broker
            .perform_at_last(Operation::Publish, self.member, |state| publish(state, batch));
        published.await.unwrap_or_else(|fault| {
            let reason = format!("publish: {fault:?} fault was set");
            Err(match fault {
                Fault::Transient | Fault::Aborted => SinkError::aborted(reason),
                Fault::Fenced | Fault::Broken => SinkError::broken(reason),
            })
        })
    }

    fn commits(&self) -> Commits {
        Commits::BySource { batches_at_once: BATCHES_AT_ONCE }
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn publish(state: &mut State, batch: &Batch) -> Result<Published, SinkError> {
    let too_large = too_large(state, batch)?;
    let mut places = Vec::with_capacity(batch.outputs.len());
    let mut refused = too_large.iter().copied().peekable();
    for (index, record) in batch.outputs.iter().enumerate() {
        if refused.next_if_eq(&index).is_none() {
            let appended = state.append(record, None);
            let (partition, offset) =
                appended.map_err(|error| SinkError::broken(Reason::of(error)))?;
            places.push(RecordMetadata { partition, offset });
        }
    }
    if too_large.is_empty() {
        Ok(Published::records().at(places))
    } else {
        Err(SinkError::TooLarge { outputs: too_large, others_published: true })
    }
}

/// The outputs that are too large, ascending; an error if one can't be published at all.
pub(super) fn too_large(state: &State, batch: &Batch) -> Result<Vec<usize>, SinkError> {
    let mut outputs = Vec::new();
    for (index, record) in batch.outputs.iter().enumerate() {
        match state.check(record) {
            Ok(_) => {}
            Err(ProduceError::TooLarge { .. }) => outputs.push(index),
            Err(error) => return Err(SinkError::broken(Reason::of(error))),
        }
    }
    Ok(outputs)
}
