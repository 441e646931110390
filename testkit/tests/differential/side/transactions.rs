//! Transactions of both generations, and their producers.

use std::pin::Pin;
use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest,
    ProducerId, TxnOffsetCommitRequest, describe_producers_request,
};

use super::offsets::Committer;
use super::{Answer, IDS, PASSING, PLAIN, Side, code, text};
use crate::operation::{Shift, Topic, partition, shift};
use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) enum TransactionOperation {
    Init {
        id: usize,
        continues: bool,
        shift: Shift,
        timeout: i32,
        version: i16,
    },
    /// A producer without a transactional id.
    InitPlain {
        id: usize,
        version: i16,
    },
    AddPartitions {
        id: usize,
        topic: Topic,
        partition: i32,
        shift: Shift,
        version: i16,
    },
    AddOffsets {
        id: usize,
        group: &'static str,
        shift: Shift,
        version: i16,
    },
    Commit(Commit),
    End {
        id: usize,
        committed: bool,
        shift: Shift,
        version: i16,
    },
    /// A transaction that nobody ends in time, and what its producer is told then.
    TimeOut {
        id: usize,
        topic: Topic,
        version: i16,
    },
    DescribeProducers {
        topic: Topic,
        partition: i32,
    },
    Describe {
        id: usize,
    },
    List {
        state: Option<&'static str>,
        older_ms: i64,
        pattern: Option<&'static str>,
        version: i16,
    },
}

/// Offsets that are committed with a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    id: usize,
    group: &'static str,
    topic: Topic,
    partition: i32,
    offset: i64,
    committer: Committer,
    long: bool,
    shift: Shift,
    version: i16,
}

/// The groups of transactions: each of another partition of the offsets, which Kafka verifies.
pub(super) const GROUPS: &[&str] = &["ovens", "ovens", "ovens", "c0", "k0", ""];

impl TransactionOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let (topic, partition) = (Topic::generate(random), partition(random));
        let id = random.below(IDS);
        match random.below(15) {
            0..=1 => Self::Init {
                id,
                continues: random.one_in(2),
                shift: shift(random),
                timeout: if random.one_in(8) { random.of(&[0, -1, 1_000_000]) } else { 600_000 },
                version: random.of(&[0, 2, 3, 4, 5]),
            },
            2..=3 => Self::AddPartitions {
                id,
                topic,
                partition,
                shift: shift(random),
                version: random.of(&[0, 1, 2, 3]),
            },
            4 => Self::AddOffsets {
                id,
                group: random.of(GROUPS),
                shift: shift(random),
                version: random.of(&[0, 2, 3, 4]),
            },
            5..=6 => Self::Commit(Commit {
                id,
                group: random.of(GROUPS),
                topic,
                partition,
                offset: random.of(&[1, 7]),
                committer: Committer::generate(random),
                long: random.one_in(12),
                shift: shift(random),
                version: random.of(&[0, 2, 3, 4, 5]),
            }),
            7..=10 => Self::End {
                id,
                committed: random.one_in(2),
                shift: shift(random),
                version: random.of(&[0, 1, 3, 4, 5, 5]),
            },
            11 => Self::DescribeProducers { topic, partition },
            12 => Self::Describe { id: random.below(IDS + 1) },
            13 => Self::List {
                state: random.of(&[None, Some("Ongoing"), Some("Open"), Some("CompleteCommit")]),
                older_ms: random.of(&[-1, 0, 100_000_000]),
                pattern: random.of(&[None, Some("id-.*-[01]"), Some("id"), Some("["), Some("")]),
                version: random.of(&[0, 1, 2]),
            },
            14 if random.one_in(4) => {
                Self::TimeOut { id, topic, version: random.of(&[0, 3, 4, 5]) }
            }
            _ => Self::InitPlain { id: IDS + random.below(PLAIN), version: random.of(&[1, 4, 5]) },
        }
    }
}

impl Side {
    pub(super) async fn ask_transaction(&mut self, operation: &TransactionOperation) -> Answer {
        match operation {
            TransactionOperation::Init { id, continues, shift, timeout, version } => {
                self.init(*id, continues.then_some(*shift), *timeout, *version).await
            }
            TransactionOperation::InitPlain { id, version } => self.init_plain(*id, *version).await,
            TransactionOperation::AddPartitions { id, topic, partition, shift, version } => {
                self.add_partitions(*id, *topic, *partition, *shift, *version).await
            }
            TransactionOperation::AddOffsets { id, group, shift, version } => {
                let (producer, epoch) = self.producer(*id, *shift);
                let request = AddOffsetsToTxnRequest::default()
                    .with_transactional_id(self.id(*id))
                    .with_producer_id(producer)
                    .with_producer_epoch(epoch)
                    .with_group_id(self.group(group));
                let found = self.client.ask(&request, *version).await.error_code;
                (found, code(found))
            }
            TransactionOperation::Commit(commit) => self.commit(commit).await,
            TransactionOperation::End { id, committed, shift, version } => {
                self.end(*id, *committed, *shift, *version).await
            }
            TransactionOperation::TimeOut { id, topic, version } => {
                self.time_out(*id, *topic, *version).await
            }
            TransactionOperation::DescribeProducers { topic, partition } => {
                self.describe_producers(*topic, *partition).await
            }
            TransactionOperation::Describe { id } => self.describe_transaction(*id).await,
            TransactionOperation::List { state, older_ms, pattern, version } => {
                self.list_transactions(*state, *older_ms, *pattern, *version).await
            }
        }
    }

    async fn init(
        &mut self,
        id: usize,
        continues: Option<Shift>,
        timeout: i32,
        version: i16,
    ) -> Answer {
        let mut request = InitProducerIdRequest::default()
            .with_transactional_id(Some(self.id(id)))
            .with_transaction_timeout_ms(timeout)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        if let Some(shift) = continues.filter(|_| version >= 3) {
            let (producer, epoch) = self.producer(id, shift);
            request = request.with_producer_id(producer).with_producer_epoch(epoch);
        }
        let answer = self.client.ask(&request, version).await;
        self.learn(id, *answer.producer_id, answer.producer_epoch);
        let rest = (self.label(*answer.producer_id), answer.producer_epoch);
        (answer.error_code, format!("{} {rest:?}", code(answer.error_code)))
    }

    async fn init_plain(&mut self, id: usize, version: i16) -> Answer {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let answer = self.client.ask(&request, version).await;
        self.learn(id, *answer.producer_id, answer.producer_epoch);
        let rest = (self.label(*answer.producer_id), answer.producer_epoch);
        (answer.error_code, format!("{} {rest:?}", code(answer.error_code)))
    }

    async fn add_partitions(
        &mut self,
        id: usize,
        topic: Topic,
        partition: i32,
        shift: Shift,
        version: i16,
    ) -> Answer {
        let (producer, epoch) = self.producer(id, shift);
        let asked = AddPartitionsToTxnTopic::default()
            .with_name(self.topic(topic))
            .with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id(id))
            .with_v3_and_below_producer_id(producer)
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![asked]);
        let answer = self.client.ask(&request, version).await;
        let found = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        let found = found.partition_error_code;
        (found, code(found))
    }

    async fn commit(&mut self, commit: &Commit) -> Answer {
        const FENCED: i16 = 3;
        let (producer, epoch) = self.producer(commit.id, commit.shift);
        let asked = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(commit.partition)
            .with_committed_offset(commit.offset)
            .with_committed_metadata(Some(text("")));
        let too_long = asked.clone().with_committed_metadata(Some(text(&"x".repeat(5_000))));
        let too_long = Some(too_long).filter(|_| commit.long);
        let asked = TxnOffsetCommitRequestTopic::default()
            .with_name(self.topic(commit.topic))
            .with_partitions([asked].into_iter().chain(too_long).collect());
        let mut request = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.id(commit.id))
            .with_group_id(self.group(commit.group))
            .with_producer_id(producer)
            .with_producer_epoch(epoch)
            .with_generation_id(-1)
            .with_topics(vec![asked]);
        if commit.version >= FENCED {
            let (member, generation) = self.committer(commit.group, commit.committer);
            request = request.with_member_id(member).with_generation_id(generation);
        }
        let answer = self.client.ask(&request, commit.version).await;
        let partitions = answer.topics[0].partitions.iter();
        let codes: Vec<_> = partitions.map(|found| code(found.error_code)).collect();
        (answer.topics[0].partitions[0].error_code, format!("{codes:?}"))
    }

    async fn end(&mut self, id: usize, committed: bool, shift: Shift, version: i16) -> Answer {
        let (producer, epoch) = self.producer(id, shift);
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id(id))
            .with_producer_id(producer)
            .with_producer_epoch(epoch)
            .with_committed(committed);
        let answer = self.client.ask(&request, version).await;
        if version >= 5 && answer.error_code == 0 {
            self.learn(id, *answer.producer_id, answer.producer_epoch);
        }
        self.settle_transaction(id).await;
        let rest = (self.label(*answer.producer_id), answer.producer_epoch);
        (answer.error_code, format!("{} {rest:?}", code(answer.error_code)))
    }

    /// Lets a transaction begin with a partition, waits until its time is over, and asks for its end.
    async fn time_out(&mut self, id: usize, topic: Topic, version: i16) -> Answer {
        const AT_ONCE_MS: i32 = 1;
        const LONG_MS: i32 = 600_000;
        let begun = self.init(id, None, AT_ONCE_MS, 5).await;
        if begun.0 != 0 {
            return begun;
        }
        let joined = self.patiently(|side| Box::pin(side.add_partitions(id, topic, 0, 0, 3))).await;
        let mut timed_out = self.describe_transaction(id).await;
        while timed_out.1.contains("Ongoing") || timed_out.1.contains("Prepare") {
            tokio::time::sleep(Duration::from_millis(5)).await;
            timed_out = self.describe_transaction(id).await;
        }
        let ended = self.patiently(|side| Box::pin(side.end(id, true, 0, version))).await;
        let again = self.patiently(|side| Box::pin(side.init(id, None, LONG_MS, 5))).await;
        (again.0, format!("{} {} {} {} {}", begun.1, joined.1, timed_out.1, ended.1, again.1))
    }

    /// Asks again while the coordinator is busy.
    async fn patiently(
        &mut self,
        ask: impl for<'b> Fn(&'b mut Self) -> Pin<Box<dyn Future<Output = Answer> + Send + 'b>>,
    ) -> Answer {
        loop {
            let answer = ask(self).await;
            if !PASSING.contains(&answer.0) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn describe_producers(&mut self, topic: Topic, partition: i32) -> Answer {
        let asked = describe_producers_request::TopicRequest::default()
            .with_name(self.topic(topic))
            .with_partition_indexes(vec![partition]);
        let request = DescribeProducersRequest::default().with_topics(vec![asked]);
        let answer = self.client.ask(&request, 0).await;
        let found = &answer.topics[0].partitions[0];
        let mut producers: Vec<_> = found
            .active_producers
            .iter()
            .map(|p| {
                let label = self.label(*p.producer_id);
                let open = p.current_txn_start_offset;
                (label, p.producer_epoch, p.last_sequence, p.coordinator_epoch, open)
            })
            .collect();
        producers.sort_unstable();
        (0, format!("{} {producers:?}", code(found.error_code)))
    }

    async fn describe_transaction(&mut self, id: usize) -> Answer {
        let request =
            DescribeTransactionsRequest::default().with_transactional_ids(vec![self.id(id)]);
        let answer = self.client.ask(&request, 0).await;
        let found = &answer.transaction_states[0];
        // How many partitions the offsets have is another number on each side.
        let mut topics: Vec<_> = found
            .topics
            .iter()
            .filter(|topic| !topic.topic.starts_with("__"))
            .flat_map(|topic| topic.partitions.iter().map(|p| (self.unnamed(&topic.topic), *p)))
            .collect();
        topics.sort_unstable();
        let state = found.transaction_state.to_string();
        let number = if found.error_code == 0 { *found.producer_id } else { -1 };
        let rest = (self.label(number), found.producer_epoch);
        let began = found.transaction_start_time_ms > 0;
        let rest = (state, rest, found.transaction_timeout_ms, began, topics);
        (found.error_code, format!("{} {rest:?}", code(found.error_code)))
    }

    async fn list_transactions(
        &mut self,
        state: Option<&str>,
        older_ms: i64,
        pattern: Option<&str>,
        version: i16,
    ) -> Answer {
        let request = ListTransactionsRequest::default()
            .with_state_filters(state.map(text).into_iter().collect())
            .with_duration_filter(if version >= 1 { older_ms } else { -1 })
            .with_transactional_id_pattern(pattern.filter(|_| version >= 2).map(text));
        let answer = self.client.ask(&request, version).await;
        let own: Vec<_> = (0..IDS).map(|id| self.id(id)).collect();
        let states = answer.transaction_states.iter();
        let mut listed: Vec<_> = states
            .filter(|state| own.contains(&state.transactional_id))
            .map(|state| {
                let id = self.unnamed(&state.transactional_id);
                (id, self.label(*state.producer_id), state.transaction_state.to_string())
            })
            .collect();
        listed.sort_unstable();
        let unknown = answer.unknown_state_filters;
        (answer.error_code, format!("{} {listed:?} {unknown:?}", code(answer.error_code)))
    }
}
