//! Topics of the in-memory broker: placement, sizes, retention, compaction.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures::StreamExt as _;
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream::sinks::{Batch, Sink as _, SinkError};
use jobstream::sources::Source as _;
use jobstream_testkit::broker::{
    Broker, Isolation, Partitioner, ProduceError, Retention, TopicOptions,
};
use proptest::prelude::{any, prop_assert_eq, proptest};

fn placements(seed: u64, keys: &[Option<Vec<u8>>]) -> Vec<i32> {
    let broker = Broker::builder().seed(seed).build();
    broker.create_topic("jobs", 6);
    let place = |key: &Option<Vec<u8>>| {
        let record =
            ProducerRecord { key: key.clone().map(Into::into), ..ProducerRecord::to("jobs") };
        broker.produce(record).unwrap().0
    };
    keys.iter().map(place).collect()
}

fn produce(broker: &Broker, values: std::ops::Range<i32>) {
    for value in values {
        broker.produce(ProducerRecord::to("jobs").value(value.to_string())).unwrap();
    }
}

fn start(broker: &Broker) -> Option<i64> {
    broker.log_start_offset(&TopicPartition::new("jobs", 0))
}

proptest! {
    #[test]
    fn a_placement_is_a_function_of_the_seed_and_the_keys(
        seed in any::<u64>(),
        keys in any::<Vec<Option<Vec<u8>>>>(),
    ) {
        prop_assert_eq!(placements(seed, &keys), placements(seed, &keys));
    }
}

#[test]
fn records_without_a_key_are_spread_and_another_seed_spreads_them_differently() {
    let keyless = vec![None; 600];
    let placed = placements(1, &keyless);
    for partition in 0..6 {
        assert!(placed.iter().filter(|&&p| p == partition).count() > 50, "{placed:?}");
    }
    assert_ne!(placed, placements(2, &keyless));
}

#[test]
fn a_key_is_placed_by_the_partitioner_of_the_broker() {
    for (partitioner, partition) in
        [(Partitioner::ConsistentRandom, 5), (Partitioner::Murmur2Random, 0)]
    {
        let broker = Broker::builder().partitioner(partitioner).build();
        broker.create_topic("jobs", 6);
        let record = ProducerRecord::to("jobs").key("3c91b");
        assert_eq!(broker.produce(record), Ok((partition, 0)));
    }
}

/// 61 bytes of batch header, 3 for the length of the record, 3 of attributes and deltas, 1 for the
/// null key, 3 for the length of the value, 1 for the number of headers.
#[test]
fn a_record_is_too_large_from_the_byte_that_kafka_refuses() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let overhead = 61 + 3 + 3 + 1 + 3 + 1;
    let record = |bytes: usize| ProducerRecord::to("jobs").value(vec![0; bytes]);
    assert_eq!(broker.produce(record(1_048_588 - overhead)), Ok((0, 0)));
    let error = broker.produce(record(1_048_588 - overhead + 1)).unwrap_err();
    assert_eq!(error, ProduceError::TooLarge { bytes: 1_048_589, max_bytes: 1_048_588 });
    assert!(error.to_string().contains("found a batch of 1048589 bytes, expected at most 1048588"));
}

#[tokio::test]
async fn a_topic_that_does_not_exist_breaks_the_sink_by_its_name() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let outputs = vec![ProducerRecord::to("jobs"), ProducerRecord::to("nowhere")];
    let refused = broker.producer().publish(&Batch { outputs, positions: Vec::new() }).await;
    assert!(matches!(refused, Err(SinkError::Broken(reason)) if reason.text().contains("nowhere")));
    assert!(broker.records("jobs", Isolation::ReadUncommitted).is_empty());
    let record = ProducerRecord { partition: Some(1), ..ProducerRecord::to("jobs") };
    assert!(matches!(broker.produce(record), Err(ProduceError::UnknownPartition(_))));
}

#[test]
fn a_topic_that_exists_stays_as_it_is() {
    let broker = Broker::new();
    assert!(broker.create_topic("jobs", 2));
    assert!(!broker.create_topic("jobs", 3));
    assert_eq!(broker.partitions("jobs").len(), 2);
}

#[test]
fn records_are_stamped_by_the_wall_clock_that_was_given() {
    let broker = Broker::builder().wall_clock(|| 7).build();
    broker.create_topic("jobs", 1);
    produce(&broker, 0..1);
    let explicit = ProducerRecord { timestamp: Some(3), ..ProducerRecord::to("jobs") };
    broker.produce(explicit).unwrap();
    let records = broker.records("jobs", Isolation::ReadCommitted);
    assert_eq!(records.iter().map(|r| r.timestamp).collect::<Vec<_>>(), [Some(7), Some(3)]);
}

#[test]
fn the_latest_records_are_kept_and_offsets_go_on() {
    let broker = Broker::new();
    for (topic, kept) in [("jobs", 2), ("nothing", 0)] {
        broker.create_topic(topic, TopicOptions::partitions(1).retention(Retention::Latest(kept)));
    }
    produce(&broker, 0..5);
    broker.produce(ProducerRecord::to("nothing")).unwrap();
    assert_eq!(start(&broker), Some(3));
    assert_eq!(broker.records("jobs", Isolation::ReadCommitted)[0].offset, 3);
    assert_eq!(broker.high_watermark(&TopicPartition::new("nothing", 0)), Some(1));
    assert!(broker.records("nothing", Isolation::ReadCommitted).is_empty());
}

#[tokio::test]
async fn what_every_group_has_consumed_is_dropped() {
    let broker = Broker::new();
    let options = TopicOptions::partitions(1).retention(Retention::Unconsumed);
    broker.create_topic("jobs", options);
    produce(&broker, 0..5);
    let partition = TopicPartition::new("jobs", 0);
    let groups = ["a", "b"].map(|group| broker.consumer(group, ["jobs"]).build());
    for group in &groups {
        group.events().next().await.unwrap().unwrap();
    }
    let commit = async |group: usize, frontier| {
        let position = Position::at(frontier);
        let partition = partition.clone();
        let position = PartitionPosition { partition, generation: 1, position };
        groups[group].commit(&[position]).await.unwrap();
    };
    commit(0, 4).await;
    assert_eq!(start(&broker), Some(0), "group b has committed nothing");
    commit(1, 2).await;
    assert_eq!(start(&broker), Some(2));
    commit(1, 5).await;
    assert_eq!(start(&broker), Some(4));
}

#[tokio::test]
async fn an_open_transaction_is_not_dropped() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    produce(&broker, 0..2);
    let producer = broker.transactional_producer("id");
    producer.begin().await.unwrap();
    producer.send(&[ProducerRecord::to("jobs")]).await.unwrap();
    produce(&broker, 0..2);
    broker.truncate(&TopicPartition::new("jobs", 0), 5);
    assert_eq!(start(&broker), Some(2));
    producer.abort().await.unwrap();
    broker.truncate(&TopicPartition::new("jobs", 0), 5);
    assert_eq!(start(&broker), Some(5));
}

#[test]
fn compaction_keeps_the_last_record_of_a_key_at_its_offset() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    for key in ["a", "b", "a", "c", "b"] {
        broker.produce(ProducerRecord::to("jobs").key(key)).unwrap();
    }
    broker.compact("jobs");
    let records = broker.records("jobs", Isolation::ReadCommitted);
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_condition_is_woken_by_the_change() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let waits = broker.clone();
    let waiting = tokio::spawn(async move { waits.caught_up("group", "jobs").await });
    produce(&broker, 0..10);
    for frontier in [9, 10] {
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        broker.alter_committed("group", &TopicPartition::new("jobs", 0), frontier, "");
    }
    tokio::time::timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap();
}
