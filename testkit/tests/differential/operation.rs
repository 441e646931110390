//! What is asked of both sides: names stand for what each side numbers by itself.

use super::random::Random;
use super::side::classic::ClassicOperation;
use super::side::configs::ConfigOperation;
use super::side::consumers::ConsumerOperation;
use super::side::groups::GroupOperation;
use super::side::offsets::OffsetOperation;
use super::side::partitions::PartitionOperation;
use super::side::produce::Produce;
use super::side::sessions::SessionOperation;
use super::side::topics::TopicOperation;
use super::side::transactions::TransactionOperation;

/// How far an epoch, a generation or a sequence number is off the one that the client was given.
pub(crate) type Shift = i16;

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Topic(TopicOperation),
    Config(ConfigOperation),
    Produce(Produce),
    Partition(PartitionOperation),
    Session(SessionOperation),
    Offset(OffsetOperation),
    Group(GroupOperation),
    Classic(ClassicOperation),
    Consumer(ConsumerOperation),
    Transaction(TransactionOperation),
}

impl Operation {
    /// The group whose members may be answered by it.
    pub(crate) const fn classic_group(&self) -> Option<usize> {
        match self {
            Self::Classic(operation) => Some(operation.group),
            _ => None,
        }
    }

    /// Whether it changes nothing, so that it can be asked again.
    pub(crate) const fn only_reads(&self) -> bool {
        match self {
            Self::Topic(operation) => matches!(
                operation,
                TopicOperation::Metadata { .. } | TopicOperation::DescribePartitions { .. }
            ),
            Self::Config(operation) => matches!(operation, ConfigOperation::Describe { .. }),
            Self::Partition(operation) => {
                !matches!(operation, PartitionOperation::DeleteRecords { .. })
            }
            Self::Offset(operation) => matches!(operation, OffsetOperation::Fetch { .. }),
            Self::Group(operation) => !matches!(operation, GroupOperation::Delete { .. }),
            Self::Transaction(operation) => matches!(
                operation,
                TransactionOperation::DescribeProducers { .. }
                    | TransactionOperation::Describe { .. }
                    | TransactionOperation::List { .. }
            ),
            Self::Produce(_) | Self::Session(_) | Self::Classic(_) | Self::Consumer(_) => false,
        }
    }
}

pub(crate) fn generate(random: &mut Random) -> Operation {
    match random.below(100) {
        0..11 => Operation::Topic(TopicOperation::generate(random)),
        11..17 => Operation::Config(ConfigOperation::generate(random)),
        17..34 => Operation::Produce(Produce::generate(random)),
        34..46 => Operation::Partition(PartitionOperation::generate(random)),
        46..49 => Operation::Session(SessionOperation::generate(random)),
        49..57 => Operation::Offset(OffsetOperation::generate(random)),
        57..61 => Operation::Group(GroupOperation::generate(random)),
        61..71 => Operation::Classic(ClassicOperation::generate(random)),
        71..79 => Operation::Consumer(ConsumerOperation::generate(random)),
        _ => Operation::Transaction(TransactionOperation::generate(random)),
    }
}

/// A topic by what it is called in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// One of those that are created and deleted.
    Own(usize),
    /// One that is never there.
    Absent,
    /// One that no topic may be called.
    Invalid,
}

impl Topic {
    pub(crate) const OWN: usize = 4;

    pub(crate) fn generate(random: &mut Random) -> Self {
        match random.below(24) {
            0 => Self::Invalid,
            1 => Self::Absent,
            more => Self::Own(more % Self::OWN),
        }
    }
}

/// A partition, of those that there are, or of those that are not.
pub(crate) fn partition(random: &mut Random) -> i32 {
    if random.one_in(12) { random.of(&[-1, 7]) } else { random.of(&[0, 0, 1]) }
}

pub(crate) fn shift(random: &mut Random) -> Shift {
    if random.one_in(8) { random.of(&[-1, 1]) } else { 0 }
}
