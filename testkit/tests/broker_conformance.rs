//! The conformance suite on the in-memory broker, one test a behaviour.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic, TopicPartition};
use jobstream::sinks::Sink;
use jobstream::state::Store;
use jobstream_testkit::broker::{
    Assignor, Broker, CommittedOffset, Consumer, Isolation, Protocol, TopicOptions,
};
use jobstream_testkit::conformance::{
    self, Backend, Features, behaviours, pauses, positions, rebalances, records, resets, sinks,
    stores, transactions,
};

struct InMemory {
    broker: Broker,
    protocol: Protocol,
    topics: AtomicU32,
}

fn cooperative() -> InMemory {
    InMemory { broker: Broker::new(), protocol: Protocol::Cooperative, topics: AtomicU32::new(0) }
}

#[async_trait]
impl Backend for InMemory {
    type Source = Consumer;

    fn features(&self) -> Features {
        Features {
            transactions: true,
            cooperative: self.protocol == Protocol::Cooperative,
            truncation: true,
            recreation: true,
            crashes: true,
            expiry: true,
        }
    }

    async fn create_topic(&self, partitions: i32) -> Topic {
        let name = format!("topic-{}", self.topics.fetch_add(1, Ordering::Relaxed));
        let options = TopicOptions::partitions(partitions).max_message_bytes(2 << 20);
        assert!(self.broker.create_topic(name.as_str(), options));
        name.into()
    }

    async fn source(&self, group: &str, topic: &Topic) -> Consumer {
        self.broker.consumer(group, [topic.clone()]).protocol(self.protocol).build()
    }

    async fn ranges(&self, group: &str, topics: &[Topic]) -> Consumer {
        let consumer = self.broker.consumer(group, topics.iter().cloned());
        consumer.protocol(self.protocol).assignor(Assignor::Range).build()
    }

    async fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.broker.producer())
    }

    async fn exactly_once(
        &self,
        group: &str,
        topic: &Topic,
        transactional_id: &str,
    ) -> (Consumer, Box<dyn Sink>) {
        let consumer = self.broker.consumer(group, [topic.clone()]).protocol(self.protocol);
        let (source, sink) = consumer.exactly_once(transactional_id);
        (source, Box::new(sink))
    }

    async fn store(&self, topic: &Topic) -> Box<dyn Store> {
        Box::new(self.broker.store(topic.clone()))
    }

    async fn read(&self, topic: &Topic, isolation: Isolation) -> Vec<ConsumerRecord> {
        self.broker.records(topic, isolation)
    }

    async fn high_watermark(&self, partition: &TopicPartition) -> i64 {
        self.broker.high_watermark(partition).unwrap()
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Option<CommittedOffset> {
        self.broker.committed(group).remove(partition)
    }

    async fn alter_committed(
        &self,
        group: &str,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
    ) {
        self.broker.alter_committed(group, partition, offset, metadata);
    }

    async fn recreate_topic(&self, topic: &Topic, partitions: i32) {
        self.broker.recreate_topic(topic.clone(), partitions);
    }

    async fn truncate(&self, partition: &TopicPartition, before: i64) {
        self.broker.truncate(partition, before);
    }

    async fn crash(&self, source: Consumer) {
        self.broker.crash(source.member());
    }

    async fn expire(&self, source: &Consumer) {
        self.broker.expire(source.member());
    }

    async fn abort(&self, transactional_id: &str, outputs: &[ProducerRecord]) {
        let producer = self.broker.transactional_producer(transactional_id);
        producer.begin().await.unwrap();
        producer.send(outputs).await.unwrap();
        producer.abort().await.unwrap();
    }

    async fn abandon(&self, transactional_id: &str, outputs: &[ProducerRecord]) {
        let producer = self.broker.transactional_producer(transactional_id);
        producer.begin().await.unwrap();
        producer.send(outputs).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_eager_group_keeps_every_behaviour_too() {
    conformance::all(&InMemory { protocol: Protocol::Eager, ..cooperative() }).await;
}

#[test]
fn every_behaviour_has_its_test_here() {
    let tests = include_str!("broker_conformance.rs");
    for behaviour in behaviours::<InMemory>() {
        let call = format!("::{}(&cooperative())", behaviour.name);
        assert!(tests.contains(&call), "{} has no test", behaviour.name);
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_a_partition_arrive_in_offset_order_after_their_assignment() {
    records::records_of_a_partition_arrive_in_offset_order_after_their_assignment(&cooperative())
        .await;
}

#[tokio::test(start_paused = true)]
async fn every_record_carries_the_generation_of_its_assignment() {
    records::every_record_carries_the_generation_of_its_assignment(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn null_and_empty_keys_and_values_survive() {
    records::null_and_empty_keys_and_values_survive(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn headers_survive_with_repeats_and_null_values() {
    records::headers_survive_with_repeats_and_null_values(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn explicit_timestamps_survive() {
    records::explicit_timestamps_survive(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_is_placed_by_the_crc_32_of_its_bytes() {
    records::a_key_is_placed_by_the_crc_32_of_its_bytes(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_partition_yields_nothing_until_resumed() {
    pauses::a_paused_partition_yields_nothing_until_resumed(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_mid_fetch_skips_and_repeats_nothing() {
    pauses::a_pause_in_mid_fetch_skips_and_repeats_nothing(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_with_the_assignment() {
    pauses::a_pause_ends_with_the_assignment(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_without_a_commit_starts_at_the_earliest_record() {
    positions::a_group_without_a_commit_starts_at_the_earliest_record(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_member_starts_at_the_committed_frontier() {
    positions::the_next_member_starts_at_the_committed_frontier(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn the_finished_set_survives_a_hand_over() {
    positions::the_finished_set_survives_a_hand_over(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_committed_is_delivered_again() {
    positions::what_was_not_committed_is_delivered_again(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn groups_do_not_see_each_others_commits() {
    positions::groups_do_not_see_each_others_commits(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_by_a_former_owner_is_fenced() {
    positions::a_commit_by_a_former_owner_is_fenced(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_an_older_assignment_is_fenced() {
    positions::a_commit_of_an_older_assignment_is_fenced(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn truncated_offsets_are_reported_and_passed_over() {
    positions::truncated_offsets_are_reported_and_passed_over(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_of_another_program_is_an_empty_set() {
    resets::metadata_of_another_program_is_an_empty_set(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_that_was_copied_to_another_offset_is_an_empty_set() {
    resets::a_set_that_was_copied_to_another_offset_is_an_empty_set(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_with_a_commit_beyond_its_end_begins_anew() {
    resets::a_partition_with_a_commit_beyond_its_end_begins_anew(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_anew_is_read_from_its_start() {
    resets::a_topic_created_anew_is_read_from_its_start(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_the_topic_before_does_not_count() {
    resets::a_commit_of_the_topic_before_does_not_count(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_position_of_the_topic_before_is_fenced() {
    resets::a_position_of_the_topic_before_is_fenced(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn members_share_the_partitions_and_each_has_one_owner() {
    rebalances::members_share_the_partitions_and_each_has_one_owner(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_stays_until_it_is_released() {
    rebalances::a_revoked_partition_stays_until_it_is_released(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn no_record_follows_the_revocation_of_its_partition() {
    rebalances::no_record_follows_the_revocation_of_its_partition(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_is_replaced() {
    rebalances::a_member_that_leaves_is_replaced(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_may_have_more_members_than_partitions() {
    rebalances::a_group_may_have_more_members_than_partitions(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn members_with_ranges_have_the_same_partitions_of_every_topic() {
    rebalances::members_with_ranges_have_the_same_partitions_of_every_topic(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_kept_partition_goes_on_under_its_old_assignment() {
    rebalances::a_kept_partition_goes_on_under_its_old_assignment(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_crashed_member_is_replaced_and_its_records_come_again() {
    rebalances::a_crashed_member_is_replaced_and_its_records_come_again(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_member_learns_of_its_loss_and_joins_again() {
    rebalances::an_expired_member_learns_of_its_loss_and_joins_again(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_can_be_read_in_order() {
    sinks::what_is_acknowledged_can_be_read_in_order(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_too_large_is_named_and_the_others_are_published() {
    sinks::an_output_that_is_too_large_is_named_and_the_others_are_published(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_of_one_mebibyte_is_taken() {
    sinks::a_value_of_one_mebibyte_is_taken(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn outputs_and_positions_are_published_together() {
    transactions::outputs_and_positions_are_published_together(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pair_commits_positions_without_outputs_too() {
    transactions::a_pair_commits_positions_without_outputs_too(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_a_stale_position_is_aborted_as_a_whole() {
    transactions::a_batch_with_a_stale_position_is_aborted_as_a_whole(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_an_output_that_is_too_large_publishes_nothing() {
    transactions::a_batch_with_an_output_that_is_too_large_publishes_nothing(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn an_aborted_transaction_is_invisible_and_spends_offsets() {
    transactions::an_aborted_transaction_is_invisible_and_spends_offsets(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_hides_what_follows_until_it_is_fenced() {
    transactions::an_open_transaction_hides_what_follows_until_it_is_fenced(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_pair_fences_the_older_one() {
    transactions::a_newer_pair_fences_the_older_one(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_of_what_was_not_asked_back_is_passed_over() {
    rebalances::a_release_of_what_was_not_asked_back_is_passed_over(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_part_that_was_never_written_is_empty() {
    stores::a_part_that_was_never_written_is_empty(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_gives_the_last_value_of_each_key_of_its_partition() {
    stores::a_restore_gives_the_last_value_of_each_key_of_its_partition(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn removed_keys_are_absent_and_empty_values_are_not() {
    stores::removed_keys_are_absent_and_empty_values_are_not(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn aborted_changes_are_not_restored() {
    stores::aborted_changes_are_not_restored(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_waits_for_an_open_transaction() {
    stores::a_restore_waits_for_an_open_transaction(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_pair_has_committed_is_there_after_the_next_assignment() {
    stores::what_a_pair_has_committed_is_there_after_the_next_assignment(&cooperative()).await;
}

#[tokio::test(start_paused = true)]
async fn a_part_that_does_not_exist_breaks_the_store() {
    stores::a_part_that_does_not_exist_breaks_the_store(&cooperative()).await;
}
