//! An exactly-once pair whose producer is fenced.

use futures::{FutureExt as _, StreamExt as _};
use jobstream::kafka::{ExactlyOnceSink, exactly_once};
use jobstream::position::PartitionPosition;
use jobstream::sinks::{Batch, Published, Sink as _, SinkError};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Source as _, SourceEvent};
use jobstream_testkit::broker::Isolation;
use tokio::time::timeout;

use crate::{Brokers, LIMIT, assigned, record, with};

/// Publishes a result with these positions.
async fn publish_once(
    sink: &ExactlyOnceSink,
    position: &PartitionPosition,
) -> Result<Published, SinkError> {
    let batch = Batch { outputs: vec![record("results", "x")], positions: vec![position.clone()] };
    timeout(LIMIT, sink.publish(&batch)).await.unwrap()
}

/// How many results a `read_committed` reader sees.
fn results(brokers: &Brokers) -> usize {
    brokers.broker.records("results", Isolation::ReadCommitted).len()
}

/// The pair keeps its assignment: a transaction that took too long is nobody else's doing.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_whose_transaction_brokers_have_ended_publishes_it_again_and_loses_nothing() {
    for fault in ["end-txn", "txn-offset-commit", "add-offsets-to-txn"] {
        let brokers = Brokers::start().await;
        brokers.create_topic("jobs", 1);
        brokers.create_topic("results", 1);
        let (source, sink) =
            exactly_once(&brokers.config(), "group", ["jobs"], "id").await.unwrap();
        let mut events = source.events();
        let mut position = assigned(&mut events).await;
        brokers.fault(&format!("{fault} nth=2 time-out-transaction"));
        publish_once(&sink, &position).await.unwrap();
        position.position.finish(7);
        let refused = publish_once(&sink, &position).await;
        assert!(matches!(refused, Err(SinkError::Aborted(_))), "{fault}: found {refused:?}");
        publish_once(&sink, &position).await.unwrap();
        assert_eq!(results(&brokers), 2, "{fault}");
        let event = events.next().now_or_never();
        assert!(event.is_none(), "{fault}: found {event:?}");
    }
}

/// A commit that brokers have made, and whose answer is lost, counts as made, although its producer is
/// fenced when it asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_is_fenced_after_its_commit_was_made_has_published() {
    let brokers = Brokers::start().await;
    brokers.create_topic("jobs", 1);
    brokers.create_topic("results", 1);
    let (source, sink) = exactly_once(&brokers.config(), "group", ["jobs"], "id").await.unwrap();
    let mut events = source.events();
    let mut position = assigned(&mut events).await;
    publish_once(&sink, &position).await.unwrap();
    position.position.finish(7);
    brokers.fault("end-txn nth=1 apply-then-disconnect");
    brokers.fault("end-txn nth=2 error PRODUCER_FENCED");
    publish_once(&sink, &position).await.unwrap();
    assert_eq!(results(&brokers), 2);
    position.position.finish(8);
    publish_once(&sink, &position).await.unwrap();
    assert_eq!(results(&brokers), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_is_fenced_while_partitions_are_asked_back_publishes_before_it_releases_them() {
    let brokers = Brokers::start().await;
    brokers.create_topic("jobs", 4);
    brokers.create_topic("results", 1);
    let strategy = [("partition.assignment.strategy", "cooperative-sticky")];
    let config = with(brokers.config(), &strategy);
    let (source, sink) = exactly_once(&config, "group", ["jobs"], "fenced").await.unwrap();
    let mut events = source.events();
    let position = assigned(&mut events).await;
    let other = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
    let mut of_other = other.events();
    let event = timeout(LIMIT, async {
        tokio::select! {
            biased;
            event = events.next() => event,
            event = of_other.next() => panic!("found {event:?}"),
        }
    });
    let event = event.await.unwrap();
    let Some(Ok(SourceEvent::Revoked(revoked))) = event else { panic!("found {event:?}") };
    drop(exactly_once(&config, "another group", ["jobs"], "fenced").await.unwrap());
    let refused = publish_once(&sink, &position).await;
    assert!(matches!(refused, Err(SinkError::Aborted(_))), "found {refused:?}");
    publish_once(&sink, &position).await.unwrap();
    source.release(&revoked).await.unwrap();
    let assigned = timeout(LIMIT, of_other.next()).await.unwrap();
    assert!(matches!(assigned, Some(Ok(SourceEvent::Assigned(_)))), "found {assigned:?}");
}
