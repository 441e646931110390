//! What is asked of both sides: names stand for what each side numbers by itself.

use super::random::Random;

/// Which epoch a client claims, from the one that it was given.
pub(crate) type Shift = i16;

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    CreateTopic {
        topic: String,
        partitions: i32,
        replicas: i16,
        config: Option<(&'static str, &'static str)>,
        validate_only: bool,
        version: i16,
    },
    DeleteTopic {
        topic: String,
        version: i16,
    },
    CreatePartitions {
        topic: String,
        count: i32,
        validate_only: bool,
    },
    AlterConfig {
        topic: String,
        operation: i8,
        name: &'static str,
        value: Option<&'static str>,
    },
    DescribeConfigs {
        topic: String,
    },
    Metadata {
        topic: String,
        version: i16,
    },
    DescribeTopicPartitions {
        topic: String,
    },
    DeleteRecords {
        topic: String,
        partition: i32,
        offset: i64,
    },
    OffsetForLeaderEpoch {
        topic: String,
        partition: i32,
        current: i32,
        epoch: i32,
    },
    Produce {
        topic: String,
        partition: i32,
        acks: i16,
        count: usize,
        timestamp: i64,
        /// A transactional id, of which the batch is; whether it says so; how far its epoch and its
        /// sequence number are off.
        producer: Option<(usize, bool, Shift, i32)>,
        version: i16,
    },
    Fetch {
        topic: String,
        partition: i32,
        offset: i64,
        isolation: i8,
        version: i16,
    },
    ListOffsets {
        topic: String,
        partition: i32,
        timestamp: i64,
        isolation: i8,
        version: i16,
    },
    OffsetCommit {
        group: &'static str,
        topic: String,
        partition: i32,
        offset: i64,
        long: bool,
    },
    OffsetFetch {
        group: &'static str,
        topic: String,
        partition: i32,
        version: i16,
    },
    DeleteGroup {
        group: &'static str,
    },
    Init {
        id: usize,
        continues: bool,
        shift: Shift,
        timeout: i32,
        version: i16,
    },
    AddPartitions {
        id: usize,
        topic: String,
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
    TxnOffsetCommit {
        id: usize,
        group: &'static str,
        topic: String,
        partition: i32,
        generation: i32,
        shift: Shift,
        version: i16,
    },
    End {
        id: usize,
        committed: bool,
        shift: Shift,
        version: i16,
    },
    DescribeProducers {
        topic: String,
        partition: i32,
    },
    DescribeTransaction {
        id: usize,
    },
    ListTransactions,
}

pub(crate) const IDS: usize = 4;
const GROUPS: &[&str] = &["bakers", "couriers"];
/// The only group of transactions: Kafka verifies the partition of the offsets, which groups share.
const TRANSACTED: &str = "ovens";

fn shift(random: &mut Random) -> Shift {
    if random.one_in(8) { random.of(&[-1, 1]) } else { 0 }
}

#[allow(clippy::too_many_lines, reason = "one arm for each request")]
pub(crate) fn generate(random: &mut Random, seed: u64) -> Operation {
    let topic = match random.below(24) {
        0 => "no such topic".to_owned(),
        1 => format!("absent-{seed}"),
        more => format!("topic-{seed}-{}", more % 4),
    };
    let partition = if random.one_in(12) { random.of(&[-1, 7]) } else { random.of(&[0, 0, 1]) };
    let id = random.below(IDS as u64) as usize;
    let group = random.of(GROUPS);
    let isolation = random.of(&[0, 1]);
    match random.below(40) {
        0..=2 => Operation::CreateTopic {
            topic,
            partitions: random.of(&[1, 2, 3, -1, 0, -2]),
            replicas: random.of(&[1, 1, 1, -1, 0, 2]),
            config: random.of(&[
                None,
                None,
                Some(("retention.ms", "-1")),
                Some(("cleanup.policy", "delete")),
                Some(("cleanup.policy", "neither")),
                Some(("retention.ms", "long")),
                Some(("no.such.config", "1")),
                Some(("message.timestamp.type", "LogAppendTime")),
                Some(("max.message.bytes", "200")),
            ]),
            validate_only: random.one_in(6),
            version: random.of(&[2, 4, 5, 7]),
        },
        3 if random.one_in(3) => Operation::DeleteTopic { topic, version: random.of(&[3, 5, 6]) },
        3 => Operation::DescribeConfigs { topic },
        4 => Operation::CreatePartitions {
            topic,
            count: random.of(&[1, 2, 3, 4]),
            validate_only: random.one_in(2),
        },
        5 => Operation::AlterConfig {
            topic,
            operation: random.of(&[0, 0, 1, 2, 3, 9]),
            name: random.of(&["retention.ms", "cleanup.policy", "segment.ms", "no.such.config"]),
            value: random.of(&[Some("delete"), Some("9000000000"), Some("-1"), None]),
        },
        6 => Operation::Metadata { topic, version: random.of(&[1, 5, 9, 12]) },
        7 => Operation::DescribeTopicPartitions { topic },
        8 if random.one_in(3) => Operation::DeleteRecords {
            topic,
            partition,
            offset: random.of(&[0, 1, 3, -1, -2, 1_000_000]),
        },
        8 => Operation::OffsetForLeaderEpoch {
            topic,
            partition,
            current: random.of(&[-1, 0, 1]),
            epoch: random.of(&[0, 0, 1, -1]),
        },
        9 if random.one_in(3) => Operation::Produce {
            topic,
            partition,
            acks: 2,
            count: 1,
            timestamp: 1_000,
            producer: None,
            version: 9,
        },
        9..=16 => Operation::Produce {
            topic,
            partition,
            acks: random.of(&[-1, 1]),
            count: random.below(3) as usize + 1,
            timestamp: random.of(&[1_000, 2_000, 3_000]),
            producer: (!random.one_in(3)).then(|| {
                let sequence = if random.one_in(6) { random.of(&[-1, 1, 3]) } else { 0 };
                (id, !random.one_in(5), shift(random), sequence)
            }),
            version: random.of(&[9, 10, 11, 12]),
        },
        17..=20 => Operation::Fetch {
            topic,
            partition,
            offset: random.of(&[0, 0, 1, 2, 5, 9, -1, 100_000]),
            isolation,
            version: random.of(&[4, 11, 12]),
        },
        21..=22 => Operation::ListOffsets {
            topic,
            partition,
            timestamp: random.of(&[-1, -2, -3, -4, 0, 1_500, 2_500, 9_000]),
            isolation,
            version: random.of(&[2, 6, 8]),
        },
        23 => Operation::OffsetCommit {
            group,
            topic,
            partition,
            offset: random.below(5) as i64,
            long: random.one_in(5),
        },
        24 => Operation::OffsetFetch { group, topic, partition, version: random.of(&[5, 7]) },
        25 => Operation::DeleteGroup { group },
        26..=27 => Operation::Init {
            id,
            continues: random.one_in(2),
            shift: shift(random),
            timeout: if random.one_in(8) { random.of(&[0, -1, 1_000_000]) } else { 600_000 },
            version: random.of(&[0, 2, 3, 4, 5]),
        },
        28..=29 => Operation::AddPartitions {
            id,
            topic,
            partition,
            shift: shift(random),
            version: random.of(&[0, 1, 2, 3]),
        },
        30 => Operation::AddOffsets {
            id,
            group,
            shift: shift(random),
            version: random.of(&[0, 2, 3]),
        },
        31..=32 => Operation::TxnOffsetCommit {
            id,
            group: TRANSACTED,
            topic,
            partition,
            generation: if random.one_in(5) { 3 } else { -1 },
            shift: shift(random),
            version: random.of(&[0, 2, 3, 4, 5]),
        },
        33..=36 => Operation::End {
            id,
            committed: random.one_in(2),
            shift: shift(random),
            version: random.of(&[0, 1, 3, 4, 5, 5]),
        },
        37 => Operation::DescribeProducers { topic, partition },
        38 => Operation::DescribeTransaction { id },
        _ => Operation::ListTransactions,
    }
}
