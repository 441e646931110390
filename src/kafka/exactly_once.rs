//! The exactly-once pair: a source and a sink that share transactions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::transactions::{Failure, Transactions};
use super::{ConfigError, KafkaConfig};
use crate::record::Topic;
use crate::sinks::{Batch, Commits, Published, Sink, SinkError};
use crate::sources::kafka::{KafkaSource, Membership};

/// The transactions that source and sink share.
pub(crate) type PairTransactions = Transactions<Arc<Membership>>;

/// A member of `group` and the sink that commits its positions, each batch with its outputs in one
/// transaction (KIP-98, KIP-447). `Source::commit` of the pair is a transaction too.
///
/// Completes when the brokers have fenced older producers of `transactional_id` and aborted their
/// open transactions; waits as long as the brokers are away. The id must be unique among live
/// pairs, and so must the second one of a pair that has two ([`KafkaConfig::commit_soon`]). If it
/// stays the same across restarts, a restart after a crash does not have to wait for
/// `transaction.timeout.ms` (10 s).
///
/// When the producer is fenced later, by another of its id or since brokers have ended a transaction
/// that took too long, a new one is made, and the source keeps its assignment. If a commit was under
/// way then, the group's positions tell whether it was made: the batch counts as published, or as
/// aborted.
///
/// # Errors
/// If librdkafka refuses a property, or the brokers refuse the producer for good.
pub async fn exactly_once<T: Into<Topic>>(
    config: &KafkaConfig,
    group: &str,
    topics: impl IntoIterator<Item = T> + Send,
    transactional_id: &str,
) -> Result<(KafkaSource, ExactlyOnceSink), ConfigError> {
    let source = KafkaSource::new(config, group, topics)?;
    let membership = source.membership().clone();
    let transactions = Arc::new(PairTransactions::new(config, transactional_id, membership)?);
    let fences = transactions.init().await;
    fences.map_err(|failure| ConfigError::Refused(failure.to_string()))?;
    let sink =
        ExactlyOnceSink { transactions: transactions.clone(), close_limit: config.closes_within() };
    Ok((source.with_transactions(transactions), sink))
}

/// Publishes outputs and positions in one transaction. It belongs to one source.
///
/// Dropping a `publish` leaves its transaction open until the next `publish`, the next producer of
/// its id or the transaction timeout aborts it. If its commit was under way, the transaction may
/// still be committed.
#[derive(Debug)]
pub struct ExactlyOnceSink {
    transactions: Arc<PairTransactions>,
    close_limit: Duration,
}

#[async_trait]
impl Sink for ExactlyOnceSink {
    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        let published = self.transactions.run(&batch.outputs, &batch.positions).await;
        let published = published.map(|places| Published::records_and_positions().at(places));
        published.map_err(|failure| match failure {
            Failure::TooLarge(outputs) => SinkError::TooLarge { outputs, others_published: false },
            Failure::Broken(reason) => SinkError::broken(reason),
            Failure::Fenced(_) | Failure::Stale(_) | Failure::Aborted(_) => {
                SinkError::aborted(failure)
            }
        })
    }

    fn commits(&self) -> Commits {
        Commits::WithBatches
    }

    /// Aborts an open transaction. Gives up after [`KafkaConfig::close_limit`].
    async fn close(&self) -> Result<(), SinkError> {
        match timeout(self.close_limit, self.transactions.close()).await {
            Ok(closed) => closed.map_err(SinkError::broken),
            Err(_) => {
                let limit = self.close_limit;
                Err(SinkError::broken(format!("not closed: expected within {limit:?}")))
            }
        }
    }
}
