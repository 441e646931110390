//! The exactly-once pair: outputs and positions in one transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jobstream::position::PartitionPosition;
use jobstream::record::ProducerRecord;
use jobstream::sinks::{Batch, Published, RecordMetadata, Sink, SinkError};
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
    metadata: Mutex<Vec<RecordMetadata>>,
}

impl Transaction {
    pub(super) fn new(consumer: &Consumer, id: Arc<str>) -> Self {
        let broker = consumer.broker.clone();
        let member = consumer.member();
        let producer = TransactionalProducer::new(broker.clone(), id, Some(member));
        Self { broker, member, producer, metadata: Mutex::default() }
    }

    pub(super) async fn commit_positions(
        &self,
        positions: &[PartitionPosition],
    ) -> Result<(), CommitError> {
        let error = match self.run(&[], positions).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        self.recover(&error);
        let reason = error.to_string();
        Err(match error {
            TransactionError::Fenced(_)
            | TransactionError::GroupFenced(_)
            | TransactionError::Fault(Fault::Fenced) => CommitError::Fenced(reason),
            TransactionError::MetadataTooLarge(_)
            | TransactionError::Fault(Fault::Aborted | Fault::Transient) => {
                CommitError::Transient(reason)
            }
            TransactionError::Fault(Fault::Broken)
            | TransactionError::Record(_)
            | TransactionError::State(_) => CommitError::Broken(reason),
        })
    }

    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        let error = match self.run(&batch.outputs, &batch.positions).await {
            Ok(()) => return Ok(Published::RecordsAndPositions),
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
                SinkError::Aborted(reason)
            }
            TransactionError::Fault(Fault::Broken)
            | TransactionError::Record(_)
            | TransactionError::State(_) => SinkError::Broken(reason),
        })
    }

    async fn run(
        &self,
        outputs: &[ProducerRecord],
        positions: &[PartitionPosition],
    ) -> Result<(), TransactionError> {
        self.producer.begin_anew().await?;
        if !outputs.is_empty() {
            let sent = self.producer.send(outputs).await?;
            let metadata = sent.into_iter();
            let metadata = metadata.map(|(partition, offset)| RecordMetadata { partition, offset });
            *self.metadata() = metadata.collect();
        }
        if !positions.is_empty() {
            let group = self.broker.group_metadata(self.member);
            self.producer.send_offsets(positions, &group).await?;
        }
        self.producer.commit().await
    }

    fn metadata(&self) -> MutexGuard<'_, Vec<RecordMetadata>> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Aborts what is open. A fenced producer is made anew, and the member gives its assignment up
    /// and joins again.
    fn recover(&self, error: &TransactionError) {
        match error {
            TransactionError::Fenced(_) | TransactionError::Fault(Fault::Fenced) => {
                self.broker.expire(self.member);
                self.broker.reveal_loss(self.member);
                self.producer.init();
            }
            TransactionError::Fault(Fault::Broken) => {}
            _ => self.producer.give_up(),
        }
    }
}

/// Publishes outputs and positions in one transaction; one of a pair with its consumer.
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

    fn metadata(&self) -> Vec<RecordMetadata> {
        self.transaction.metadata().clone()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}
