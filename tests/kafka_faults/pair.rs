//! An exactly-once pair, and a member with a name.

use std::time::Duration;

use futures::StreamExt as _;
use jobstream::kafka::{ExactlyOnceSink, KafkaConfig, exactly_once};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream::sinks::{Batch, Published, Sink as _, SinkError};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Assignment, Source as _, SourceEvent};
use tokio::time::{sleep, timeout};

use crate::kafka_broker::Broker;
use crate::{Events, LIMIT, assigned, create};

fn batch(topic: &str, assigned: &Assignment, frontier: i64) -> Batch {
    let position = PartitionPosition {
        partition: assigned.partition.clone(),
        generation: assigned.generation,
        position: Position::at(frontier),
    };
    Batch { outputs: vec![ProducerRecord::to(topic).value("x")], positions: vec![position] }
}

/// Polls the stream while it publishes, until the transaction is not aborted any more.
async fn publish(
    events: &mut Events<'_>,
    sink: &ExactlyOnceSink,
    topic: &str,
    frontier: i64,
    mut owned: Option<Assignment>,
) {
    let published = async {
        loop {
            while owned.is_none() {
                if let Some(Ok(SourceEvent::Assigned(assigned))) = events.next().await {
                    owned = assigned.first().cloned();
                }
            }
            match sink.publish(&batch(topic, owned.as_ref().unwrap(), frontier)).await {
                Ok(Published { has_positions: true, .. }) => return,
                Err(SinkError::Aborted(_)) => sleep(Duration::from_millis(100)).await,
                other => panic!("found {other:?}"),
            }
            while let Ok(Some(Ok(event))) = timeout(Duration::ZERO, events.next()).await {
                match event {
                    SourceEvent::Lost(_) => owned = None,
                    SourceEvent::Assigned(assigned) => owned = assigned.first().cloned(),
                    _ => {}
                }
            }
        }
    };
    timeout(LIMIT, published).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_fenced_pair_loses_its_assignment_joins_again_and_publishes() {
    let broker = Broker::shared();
    let topic = format!("fenced-{}", std::process::id());
    let config = KafkaConfig::new(&broker.bootstrap);
    create(&config, &topic).await;
    let (source, sink) = exactly_once(&config, &topic, [&*topic], &topic).await.unwrap();
    let mut events = source.events();
    let first = assigned(&mut events).await;
    let newer = exactly_once(&config, &topic, [&*topic], &topic).await.unwrap();
    let refused = timeout(LIMIT, sink.publish(&batch(&topic, &first, 0))).await.unwrap();
    assert!(matches!(refused, Err(SinkError::Aborted(_))), "found {refused:?}");
    let lost = timeout(LIMIT, events.next()).await.unwrap();
    let of_partition = |lost: &[TopicPartition]| lost == [first.partition.clone()];
    assert!(matches!(&lost, Some(Ok(SourceEvent::Lost(lost))) if of_partition(lost)), "{lost:?}");
    let second = assigned(&mut events).await;
    assert_eq!(second.generation, first.generation + 1);
    let published = timeout(LIMIT, sink.publish(&batch(&topic, &second, 1))).await.unwrap();
    assert!(matches!(&published, Ok(Published { has_positions: true, .. })), "found {published:?}");
    drop(newer);
    drop(events);
    sink.close().await.unwrap();
    source.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_pair_goes_on_after_the_broker_was_killed() {
    let broker = Broker::start_with(&["--nodes", "1"]);
    let config = KafkaConfig::new(&broker.bootstrap);
    create(&config, "jobs").await;
    let (source, sink) = exactly_once(&config, "group", ["jobs"], "id").await.unwrap();
    let mut events = source.events();
    let first = assigned(&mut events).await;
    let published = sink.publish(&batch("jobs", &first, 0)).await;
    assert!(matches!(&published, Ok(Published { has_positions: true, .. })), "found {published:?}");
    broker.node("kill");
    let second = batch("jobs", &first, 1);
    let publishing = sink.publish(&second);
    assert!(
        timeout(Duration::from_secs(2), publishing).await.is_err(),
        "published without a broker"
    );
    broker.node("resume");
    publish(&mut events, &sink, "jobs", 1, Some(first)).await;
    drop(events);
    sink.close().await.unwrap();
    source.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_static_member_that_starts_again_has_its_partition_at_once() {
    let broker = Broker::shared();
    let topic = format!("static-{}", std::process::id());
    let config = KafkaConfig::new(&broker.bootstrap).instance_id("one");
    // Longer than anything may take here.
    let config = config.property("session.timeout.ms", "300000").unwrap();
    create(&config, &topic).await;
    let source = KafkaSource::new(&config, &topic, [&*topic]).unwrap();
    assigned(&mut source.events()).await;
    source.close().await.unwrap();
    let source = KafkaSource::new(&config, &topic, [&*topic]).unwrap();
    let mut events = source.events();
    // Where it waited for the end of the session, that would be too long.
    assigned(&mut events).await;
}
