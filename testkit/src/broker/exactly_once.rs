//! The exactly-once pair: outputs and positions in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use jobstream::position::PartitionPosition;
use jobstream::record::ProducerRecord;
use jobstream::sinks::{Batch, Commits, Published, RecordMetadata, Sink, SinkError};
use jobstream::sources::CommitError;

use super::Broker;
use super::consumer::Consumer;
use super::member::MemberId;
use super::operation::Fault;
use super::producer::{ProduceError, too_large};
use super::transactional_producer::{TransactionError, TransactionalProducer};

/// What the two of a pair share: the member, and the producer of its transactions.
#[derive(Debug)]
pub(super) struct Transaction {
    broker: Broker,
    member: MemberId,
    producer: TransactionalProducer,
}

impl Transaction {
    pub(super) fn new(consumer: &Consumer, id: Arc<str>) -> Self {
        let broker = consumer.broker.clone();
        let member = consumer.member();
        let producer = TransactionalProducer::new(broker.clone(), id, Some(member));
        Self { broker, member, producer }
    }

    pub(super) async fn commit_positions(
        &self,
        positions: &[PartitionPosition],
    ) -> Result<(), CommitError> {
        let Err(error) = self.run(&[], positions).await else { return Ok(()) };
        self.recover(&error);
        let reason = error.to_string();
        Err(match error {
            TransactionError::GroupFenced(_) => CommitError::fenced(reason),
            TransactionError::Fenced(_)
            | TransactionError::MetadataTooLarge(_)
            | TransactionError::Fault(Fault::Fenced | Fault::Aborted | Fault::Transient) => {
                CommitError::transient(reason)
            }
            TransactionError::Fault(Fault::Broken)
            | TransactionError::Record(_)
            | TransactionError::State(_) => CommitError::broken(reason),
        })
    }

    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        let error = match self.run(&batch.outputs, &batch.positions).await {
            Ok(places) => return Ok(Published::records_and_positions().at(places)),
            Err(error) => error,
        };
        self.recover(&error);
        let reason = error.to_string();
        Err(match error {
            TransactionError::Record(ProduceError::TooLarge { .. }) => {
                let outputs = self.broker.with(|state| too_large(state, batch))?;
                SinkError::TooLarge { outputs, others_published: false }
            }
            TransactionError::Fenced(_)
            | TransactionError::GroupFenced(_)
            | TransactionError::MetadataTooLarge(_)
            | TransactionError::Fault(Fault::Fenced | Fault::Aborted | Fault::Transient) => {
                SinkError::aborted(reason)
            }
            TransactionError::Fault(Fault::Broken)
            | TransactionError::Record(_)
            | TransactionError::State(_) => SinkError::broken(reason),
        })
    }

    async fn run(
        &self,
        outputs: &[ProducerRecord],
        positions: &[PartitionPosition],
    ) -> Result<Vec<RecordMetadata>, TransactionError> {
        self.producer.begin_anew().await?;
        let mut places = Vec::new();
        if !outputs.is_empty() {
            let sent = self.producer.send(outputs).await?;
            let place = |(partition, offset)| RecordMetadata { partition, offset };
            places.extend(sent.into_iter().map(place));
        }
        if !positions.is_empty() {
            let group = self.broker.group_metadata(self.member);
            self.producer.send_offsets(positions, &group).await?;
        }
        self.producer.commit().await?;
        Ok(places)
    }

    /// Aborts what is open. A fenced producer is made anew.
    fn recover(&self, error: &TransactionError) {
        match error {
            TransactionError::Fenced(_) | TransactionError::Fault(Fault::Fenced) => {
                self.producer.init();
            }
            TransactionError::Fault(Fault::Broken) => {}
            _ => self.producer.give_up(),
        }
    }
}

/// Publishes outputs and positions in one transaction, and answers where they are; one of a pair with
/// its consumer.
///
/// When an output is too large or a step fails, nothing of the batch was published. A `publish`
/// that is dropped leaves its transaction open, until the next one, the next producer of its id or
/// the transaction timeout aborts it.
#[derive(Debug)]
pub struct ExactlyOnceSink {
    transaction: Arc<Transaction>,
}

impl ExactlyOnceSink {
    pub(super) const fn new(transaction: Arc<Transaction>) -> Self {
        Self { transaction }
    }
}

#[async_trait]
impl Sink for ExactlyOnceSink {
    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        self.transaction.publish(batch).await
    }

    fn commits(&self) -> Commits {
        Commits::WithBatches
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}
