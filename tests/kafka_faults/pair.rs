//! An exactly-once pair.

use std::time::Duration;

use futures::StreamExt as _;
use jobstream::kafka::{ExactlyOnceSink, KafkaConfig, exactly_once};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::ProducerRecord;
use jobstream::sinks::{Batch, Published, Sink as _, SinkError};
use jobstream::sources::{Assignment, Source as _, SourceEvent};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
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

/// Fences a pair that has published so many batches, and publishes with it again.
async fn fence(config: &KafkaConfig, topic: &str, batches: i64) {
    create(config, topic).await;
    let (source, sink) = exactly_once(config, topic, [topic], topic).await.unwrap();
    let mut events = source.events();
    let first = assigned(&mut events).await;
    for frontier in 0..batches {
        timeout(LIMIT, sink.publish(&batch(topic, &first, frontier))).await.unwrap().unwrap();
    }
    let newer = exactly_once(config, topic, [topic], topic).await.unwrap();
    let refused = timeout(LIMIT, sink.publish(&batch(topic, &first, batches))).await.unwrap();
    assert!(matches!(refused, Err(SinkError::Aborted(_))), "found {refused:?}");
    let published = timeout(LIMIT, sink.publish(&batch(topic, &first, batches))).await.unwrap();
    assert!(matches!(&published, Ok(Published { has_positions: true, .. })), "found {published:?}");
    // Where there is another producer, it finds that it was fenced, too.
    publish(&mut events, &sink, topic, batches + 1, Some(first)).await;
    drop(newer);
    drop(events);
    sink.close().await.unwrap();
    source.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_fenced_pair_keeps_its_assignment_and_publishes() {
    let broker = Broker::shared();
    let config = KafkaConfig::new(&broker.bootstrap);
    fence(&config, &format!("fenced-{}", std::process::id()), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_pair_of_two_producers_is_fenced_whichever_has_its_turn() {
    let broker = Broker::shared();
    let config = KafkaConfig::new(&broker.bootstrap).commit_soon();
    for batches in 0..3 {
        fence(&config, &format!("fenced-turns-{batches}-{}", std::process::id()), batches).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_position_of_a_group_is_that_of_the_last_transaction_whichever_producer_made_it() {
    let broker = Broker::shared();
    let topic = format!("turns-{}", std::process::id());
    let config = KafkaConfig::new(&broker.bootstrap).commit_soon();
    create(&config, &topic).await;
    let (source, sink) = exactly_once(&config, &topic, [&*topic], &topic).await.unwrap();
    let mut events = source.events();
    let owned = assigned(&mut events).await;
    for frontier in 1..=20 {
        let batch = batch(&topic, &owned, frontier);
        timeout(LIMIT, sink.publish(&batch)).await.unwrap().unwrap();
        assert_eq!(committed(&broker, &topic), Offset::Offset(frontier));
    }
    drop(events);
    sink.close().await.unwrap();
    source.close().await.unwrap();
}

/// The position of a group in the only partition of the topic of its name, once no transaction holds
/// another one.
fn committed(broker: &Broker, name: &str) -> Offset {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &broker.bootstrap).set("group.id", name);
    let client: BaseConsumer = client.create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition(name, 0);
    let found = client.committed_offsets(partitions, LIMIT).unwrap();
    found.elements()[0].offset()
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
